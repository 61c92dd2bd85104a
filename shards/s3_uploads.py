"""How an object is sent to S3, whole or in parts, and what S3 keeps of parts that have not become one.

To list those takes permissions of their own, and not every server that speaks S3 knows how.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from shards.bucket import Upload
from shards.errors import UserError
from shards.s3_answers import CHECKSUMS, NO_UPLOAD, error_code, error_status

PART_BYTES = 16 * 1024 * 1024
"""What is larger is sent in parts of this size, or in 9,000 parts."""

_PARTS = 9000
_PARTS_AT_ONCE = 2
_NOT_SAID = frozenset({403, 405, 501})

Ask = Callable[..., dict[str, Any]]
"""Does an operation of S3 in a bucket; raises ClientError where the server answers with an error."""


def put_whole(
    ask: Ask, key: str, file: BinaryIO, size: int, metadata: Mapping[str, str], *, if_absent: bool
) -> None:
    """Send an object by one request.

    Args:
        size: so many bytes of the file, from its beginning.
        if_absent: only unless there is an object of this key.

    Raises:
        ClientError: the server answers with an error.
    """
    file.seek(0)
    ask("put_object", Key=key, Body=file.read(size), Metadata=metadata, **_condition(if_absent))


def put_in_parts(
    ask: Ask, key: str, file: BinaryIO, size: int, metadata: Mapping[str, str], *, if_absent: bool
) -> None:
    """As `put_whole`, by a request for each part and one that makes them an object."""
    part_bytes = max(PART_BYTES, -(-size // _PARTS))
    upload = ask("create_multipart_upload", Key=key, Metadata=metadata)["UploadId"]
    try:
        parts = _send_parts(ask, key, file, part_bytes, upload)
        made = {"Key": key, "UploadId": upload, "MultipartUpload": {"Parts": parts}}
        ask("complete_multipart_upload", **made, **_condition(if_absent))
    except BaseException:
        # Parts without an object are seen by nobody, and paid for.
        with suppress(ClientError, UserError):
            ask("abort_multipart_upload", Key=key, UploadId=upload)
        raise


def _send_parts(ask: Ask, key: str, file: BinaryIO, part_bytes: int, upload: str) -> list[dict[str, Any]]:
    """Few at a time, for each is in memory while it is under way."""

    def send(number: int, data: bytes) -> dict[str, Any]:
        answer = ask("upload_part", Key=key, UploadId=upload, PartNumber=number, Body=data)
        sums = {name: answer[name] for name in answer if name in CHECKSUMS}
        return {"PartNumber": number, "ETag": answer["ETag"], **sums}

    file.seek(0)
    done: list[dict[str, Any]] = []
    with ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="upload") as pool:
        sent: deque[Future[dict[str, Any]]] = deque()
        number = 0
        try:
            while data := file.read(part_bytes):
                number += 1
                sent.append(pool.submit(send, number, data))
                if len(sent) >= _PARTS_AT_ONCE:
                    done.append(sent.popleft().result())
            done += [future.result() for future in sent]
        finally:
            for future in sent:
                future.cancel()
    return done


def _condition(if_absent: bool) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if if_absent else {}


def find_uploads(ask: Ask, prefix: str) -> Iterator[Upload]:
    """The uploads to keys that begin with a prefix; none where the server does not say.

    Raises:
        ClientError: the server answers with another error.
    """
    for page in _pages(ask, "list_multipart_uploads", ("KeyMarker", "UploadIdMarker"), Prefix=prefix):
        for told in page.get("Uploads", ()):
            key, upload = told["Key"], told["UploadId"]
            size, heard_s = 0, told["Initiated"].timestamp()
            for parts in _pages(ask, "list_parts", ("PartNumberMarker",), Key=key, UploadId=upload):
                for part in parts.get("Parts", ()):
                    size += part["Size"]
                    heard_s = max(heard_s, part["LastModified"].timestamp())
            yield Upload(key, upload, size, heard_s)


def _pages(ask: Ask, operation: str, markers: tuple[str, ...], **asked: str) -> Iterator[dict[str, Any]]:
    more: dict[str, Any] = {}
    while True:
        try:
            page = ask(operation, **asked, **more)
        except ClientError as error:
            if error_code(error) == NO_UPLOAD or error_status(error) in _NOT_SAID:
                return
            raise
        yield page
        if not page.get("IsTruncated"):
            return
        more = {marker: page[f"Next{marker}"] for marker in markers}
