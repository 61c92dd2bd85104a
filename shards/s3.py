"""S3, at AWS or at any endpoint that speaks its language, by boto3.

Endpoint, region and credentials are those that boto3 finds: `AWS_ENDPOINT_URL`, `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, a role of the machine... None of them is ever told.

Requests are repeated by botocore (its `standard` mode: 5xx, throttling, timeouts, cut connections), so
an answer that is lost may be of a put that was done. A put that is then told that the name is taken
looks whose object it is, by a word that it left in the object's metadata.
"""

from __future__ import annotations

import errno
import io
import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from shards.bucket import ChangedError, Found, Patience, Upload
from shards.errors import UserError
from shards.s3_answers import (
    BEYOND,
    BROKEN,
    CONFLICT,
    NO_OBJECT,
    NO_UPLOAD,
    TAKEN,
    advise,
    error_code,
    no_bucket,
)
from shards.s3_uploads import PART_BYTES, find_uploads, put_in_parts, put_whole

_WRITER = "genieset-writer"
_LONGEST_PAUSE_S = 20.0
_WHOLE, _IN_PARTS = "whole", "in parts"


def open_bucket(name: str, patience: Patience) -> S3Bucket:
    """The bucket, by a client that this process shares for as long as its environment says the same.

    Raises:
        UserError: the environment names no usable endpoint, or a profile that there is not.
    """
    told = frozenset(item for item in os.environ.items() if item[0].startswith("AWS_"))
    return _opened(name, patience, told, os.getpid())


@lru_cache(maxsize=8)
def _opened(name: str, patience: Patience, told: frozenset[tuple[str, str]], pid: int) -> S3Bucket:  # noqa: ARG001
    return S3Bucket(name, patience)


class S3Bucket:
    """A `shards.bucket.Bucket` of S3."""

    def __init__(self, name: str, patience: Patience) -> None:
        self._name = name
        self._attempts = patience.attempts
        config = Config(
            connect_timeout=patience.connect_s,
            read_timeout=patience.answer_s,
            retries={"mode": "standard", "total_max_attempts": patience.attempts},
        )
        try:
            session = boto3.Session()
            region = session.region_name or "us-east-1"
            self._client = session.client("s3", region_name=region, config=config)
        except boto.ProfileNotFound:
            raise UserError(f"bucket s3://{name}: AWS_PROFILE names a profile that there is not") from None
        except (ValueError, boto.BotoCoreError):
            raise UserError(
                f"bucket s3://{name}: AWS's settings cannot be used; AWS_ENDPOINT_URL is like "
                "https://host:port, AWS_REGION like us-east-1"
            ) from None
        host = urlsplit(self._client.meta.endpoint_url).hostname or ""
        aws = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        self._obeyed = {_WHOLE, _IN_PARTS} if aws else set()
        self._is_there = False

    def obeys(self, key: str, size: int) -> bool:
        """AWS does; another server shows it by two puts, for it may obey those of whole objects alone."""
        way = _way(size)
        # The first may be what makes it; the second has no way to.
        if way not in self._obeyed and not all(
            self._put(key, io.BytesIO(b"\n"), 1, way, if_absent=True) for _ in range(2)
        ):
            self._obeyed.add(way)
        return way in self._obeyed

    def put(self, key: str, file: BinaryIO, size: int, *, if_absent: bool) -> bool:
        """By one request, or by one for each part and one at the end that makes them an object."""
        return self._put(key, file, size, _way(size), if_absent=if_absent)

    def _put(self, key: str, file: BinaryIO, size: int, way: str, *, if_absent: bool) -> bool:
        for attempt in range(1, self._attempts + 1):
            writer = uuid.uuid4().hex
            try:
                put = put_whole if way == _WHOLE else put_in_parts
                put(self._sent, key, file, size, {_WRITER: writer}, if_absent=if_absent)
            except boto.ClientError as error:
                if error_code(error) in CONFLICT and attempt < self._attempts:
                    # Another writer's put of this name was under way; nobody has won by that.
                    _pause(attempt)
                    continue
                taken = error_code(error) in TAKEN
                # A repetition may be told so of what it has done itself.
                done = _repeated(error) and (taken or error_code(error) == NO_UPLOAD)
                if done and self._writer(key) == writer:
                    return True
                if not taken:
                    raise self._told(error) from None
                return False
            return True
        raise AssertionError("attempts are one or more")

    def get(self, key: str, offset: int = 0, size: int | None = None, etag: str | None = None) -> bytes:
        """By one ranged request, repeated where its answer breaks off."""
        if size == 0:
            return b""
        asked: dict[str, str] = {"IfMatch": etag} if etag else {}
        if offset or size is not None:
            asked["Range"] = f"bytes={offset}-" + ("" if size is None else str(offset + size - 1))
        for attempt in range(1, self._attempts + 1):
            try:
                answer = self._client.get_object(Bucket=self._name, Key=key, **asked)
                with closing(answer["Body"]) as body:
                    data: bytes = body.read()
                    return data
            except BROKEN as error:
                if attempt == self._attempts:
                    raise self._told(error) from None
                _pause(attempt)
            except boto.ClientError as error:
                if error_code(error) in NO_OBJECT:
                    raise self._missing(key) from None
                if error_code(error) in BEYOND:
                    return b""
                if error_code(error) in TAKEN:
                    raise ChangedError(
                        f"s3://{self._name}/{key}: was written over while it was read"
                    ) from None
                raise self._told(error) from None
            except boto.BotoCoreError as error:
                raise self._told(error) from None
        raise AssertionError("attempts are one or more")

    def find(self, key: str) -> Found | None:
        """By one request; the first object that is not there costs another, about the bucket."""
        head = self._head(key)
        return Found(head["ContentLength"], head["ETag"], head["LastModified"].timestamp()) if head else None

    def remove(self, key: str) -> None:
        """By one request."""
        self._call("delete_object", Key=key)

    def keys(self, prefix: str) -> Iterator[str]:
        """By one request for each thousand."""
        for page in self._pages(prefix):
            yield from (entry["Key"] for entry in page.get("Contents", ()))

    def folders(self, prefix: str) -> Iterator[str]:
        """By one request for each thousand keys and folders."""
        for page in self._pages(prefix):
            yield from (entry["Prefix"] for entry in page.get("CommonPrefixes", ()))

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """By one request for each thousand, and one for each thousand parts of each."""
        try:
            yield from find_uploads(self._sent, prefix)
        except boto.ClientError as error:
            raise self._told(error) from None

    def end_upload(self, upload: Upload) -> None:
        """By one request."""
        try:
            self._sent("abort_multipart_upload", Key=upload.name, UploadId=upload.id)
        except boto.ClientError as error:
            if error_code(error) != NO_UPLOAD:
                raise self._told(error) from None

    def _pages(self, prefix: str) -> Iterator[dict[str, Any]]:
        more: dict[str, Any] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, Delimiter="/", **more)
            yield page
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _writer(self, key: str) -> str | None:
        """The word that the object's writer left in it."""
        head = self._head(key)
        return head["Metadata"].get(_WRITER) if head else None

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            return self._sent("head_object", Key=key)
        except boto.ClientError as error:
            if error_code(error) not in NO_OBJECT:
                raise self._told(error) from None
        if not self._is_there:
            # The answer to a HEAD has no body that could say that even the bucket is not there.
            try:
                self._sent("head_bucket")
            except boto.ClientError as error:
                if error_code(error) in NO_OBJECT or error_code(error) == "NoSuchBucket":
                    raise self._no_bucket() from None
                # Some may read objects and not ask about buckets.
            self._is_there = True
        return None

    def _call(self, operation: str, **asked: Any) -> dict[str, Any]:
        try:
            return self._sent(operation, **asked)
        except boto.ClientError as error:
            raise self._told(error) from None

    def _sent(self, operation: str, **asked: Any) -> dict[str, Any]:
        """The answer; ClientError is one too, all else that fails is for a person."""
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._name, **asked)
        except boto.BotoCoreError as error:
            raise self._told(error) from None
        return answer

    def _missing(self, key: str) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"s3://{self._name}/{key}")

    def _no_bucket(self) -> UserError:
        return UserError(f"bucket s3://{self._name}: {no_bucket(self._server)}")

    @property
    def _server(self) -> str:
        """The endpoint, without what a URL may hold besides."""
        place = urlsplit(self._client.meta.endpoint_url)
        return f"{place.scheme}://{place.hostname}" + (f":{place.port}" if place.port else "")

    def _told(self, error: Exception) -> UserError:
        return UserError(f"bucket s3://{self._name}: {advise(error, self._server, self._attempts)}")


def _way(size: int) -> str:
    return _WHOLE if size <= PART_BYTES else _IN_PARTS


def _repeated(error: boto.ClientError) -> bool:
    """Whether the request had been sent before it got this answer."""
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))


def _pause(attempt: int) -> None:
    time.sleep(random.random() * min(2.0**attempt, _LONGEST_PAUSE_S))  # noqa: S311 - no secret
