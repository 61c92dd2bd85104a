"""Google Cloud Storage, by Google's own client.

Credentials are those that it finds: `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's, those of the machine.
`STORAGE_EMULATOR_HOST` names another server. None of them is ever told.

Requests are repeated by the client, so an answer that is lost may be of a put that was done; whose an
object is, a word in its metadata tells, as in `shards.s3`.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from typing import Any, BinaryIO

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import exceptions as http

from shards.bucket import ChangedError, Found, Patience, Upload
from shards.errors import UserError

PART_BYTES = 16 * 1024 * 1024
"""What is larger is sent in parts of this size."""

_WRITER = "genieset-writer"
_EMULATOR = "STORAGE_EMULATOR_HOST"
_TOLD = ("GOOGLE_", "CLOUDSDK_", _EMULATOR)


def open_bucket(name: str, patience: Patience) -> GoogleBucket:
    """The bucket, by a client that this process shares for as long as its environment says the same.

    Raises:
        UserError: there are no credentials.
    """
    told = frozenset(item for item in os.environ.items() if item[0].startswith(_TOLD))
    return _opened(name, patience, told, os.getpid())


@lru_cache(maxsize=8)
def _opened(
    name: str,
    patience: Patience,
    told: frozenset[tuple[str, str]],  # noqa: ARG001
    pid: int,  # noqa: ARG001
) -> GoogleBucket:
    return GoogleBucket(name, patience)


class GoogleBucket:
    """A `shards.bucket.Bucket` of Google's."""

    def __init__(self, name: str, patience: Patience) -> None:
        self._name = name
        # A request is tried again for as long as all attempts of one that hangs would take.
        self._retry_s = patience.attempts * patience.answer_s
        self._how: dict[str, Any] = {
            "timeout": (patience.connect_s, patience.answer_s),
            "retry": DEFAULT_RETRY.with_timeout(self._retry_s),
        }
        try:
            # No object belongs to a project, and the client asks for one all the same.
            self._client = storage.Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT") or "none")
        except (auth.GoogleAuthError, OSError, ValueError) as error:
            raise self._told(error) from None
        self._bucket = self._client.bucket(name)
        self._conditional = _EMULATOR not in os.environ
        self._is_there = False

    def obeys(self, key: str, size: int) -> bool:  # noqa: ARG002 - one way for all sizes
        """Google's does; another server shows it by two puts."""
        if not self._conditional:
            # The first may be what makes it; the second has no way to.
            self._conditional = not all(self.put(key, BytesIO(b"\n"), 1, if_absent=True) for _ in range(2))
        return self._conditional

    def put(self, key: str, file: BinaryIO, size: int, *, if_absent: bool) -> bool:
        """By one request, or by one for each part; the last of them makes the object."""
        writer = uuid.uuid4().hex
        blob = self._bucket.blob(key, chunk_size=PART_BYTES if size > PART_BYTES else None)
        blob.metadata = {_WRITER: writer}
        file.seek(0)
        condition = {"if_generation_match": 0} if if_absent else {}
        try:
            blob.upload_from_file(
                file, size=size, content_type="application/octet-stream", **condition, **self._how
            )
        except api.PreconditionFailed:
            return self._writer(key) == writer
        except _FAILURES as error:
            raise self._told(error) from None
        return True

    def get(self, key: str, offset: int = 0, size: int | None = None, etag: str | None = None) -> bytes:
        """By one ranged request."""
        if size == 0:
            return b""
        asked: dict[str, Any] = {"if_generation_match": int(etag)} if etag else {}
        if offset or size is not None:
            asked |= {"start": offset, "end": None if size is None else offset + size - 1}
        try:
            data: bytes = self._bucket.blob(key).download_as_bytes(raw_download=True, **asked, **self._how)
        except api.NotFound:
            self._find_bucket()
            place = f"gs://{self._name}/{key}"
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place) from None
        except api.RequestRangeNotSatisfiable:
            return b""
        except api.PreconditionFailed:
            raise ChangedError(f"gs://{self._name}/{key}: was written over while it was read") from None
        except _FAILURES as error:
            raise self._told(error) from None
        return data

    def find(self, key: str) -> Found | None:
        """By one request; the first object that is not there costs another, about the bucket."""
        blob = self._blob(key)
        return Found(blob.size, str(blob.generation), blob.updated.timestamp()) if blob else None

    def remove(self, key: str) -> None:
        """By one request."""
        try:
            self._bucket.blob(key).delete(**self._how)
        except api.NotFound:
            self._find_bucket()
        except _FAILURES as error:
            raise self._told(error) from None

    def keys(self, prefix: str) -> Iterator[str]:
        """By one request for each thousand."""
        try:
            for blob in self._client.list_blobs(self._bucket, prefix=prefix, delimiter="/", **self._how):
                yield blob.name
        except _FAILURES as error:
            raise self._told(error) from None

    def folders(self, prefix: str) -> Iterator[str]:
        """By one request for each thousand keys and folders."""
        try:
            listing = self._client.list_blobs(self._bucket, prefix=prefix, delimiter="/", **self._how)
            for page in listing.pages:
                yield from page.prefixes
        except _FAILURES as error:
            raise self._told(error) from None

    def uploads(self, prefix: str) -> Iterator[Upload]:  # noqa: ARG002
        """None: Google lists none, takes no money for them, and ends them after a week."""
        return iter(())

    def end_upload(self, upload: Upload) -> None:
        """There is none that is known."""

    def _writer(self, key: str) -> str | None:
        """The word that the object's writer left in it."""
        blob = self._blob(key)
        return (blob.metadata or {}).get(_WRITER) if blob else None

    def _blob(self, key: str) -> Any:
        try:
            blob = self._bucket.get_blob(key, **self._how)
        except _FAILURES as error:
            raise self._told(error) from None
        if blob is None:
            self._find_bucket()
        return blob

    def _find_bucket(self) -> None:
        """What is not there may be so for want of the bucket. Raises UserError then."""
        if self._is_there:
            return
        try:
            self._client.get_bucket(self._bucket, **self._how)
        except api.Forbidden:
            pass  # some may read objects and not ask about buckets
        except _FAILURES as error:
            raise self._told(error) from None
        self._is_there = True

    def _told(self, error: Exception) -> UserError:
        """One line, of what is known for sure: servers' own words may repeat what is secret."""
        bucket, kind = f"bucket gs://{self._name}", type(error).__name__
        if isinstance(error, api.NotFound):
            return UserError(f"{bucket}: there is none; make it, or name another")
        if isinstance(error, api.Unauthorized | api.Forbidden):
            return UserError(
                f"{bucket}: access is denied ({kind}); check the credentials, and that they may list the "
                "bucket and read, write and delete its objects"
            )
        if isinstance(error, auth.GoogleAuthError) and not isinstance(error, auth.TransportError):
            return UserError(
                f"{bucket}: no usable credentials were found ({kind}); run "
                "`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
            )
        if isinstance(error, api.ClientError) and not isinstance(error, api.TooManyRequests):
            return UserError(f"{bucket}: is refused ({kind})")
        return UserError(
            f"{bucket}: Google's server does not answer well ({kind}), for {self._retry_s:.0f} s; "
            "when it does, the same command goes on from here"
        )


_FAILURES = (api.GoogleAPIError, auth.GoogleAuthError, http.RequestException, OSError)
