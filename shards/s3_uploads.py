"""What S3 keeps of uploads in parts that have not become objects.

To list them takes permissions of their own, and not every server that speaks S3 knows how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from shards.bucket import Upload
from shards.s3_answers import NO_UPLOAD, error_code, error_status

_NOT_SAID = frozenset({403, 405, 501})


def find_uploads(ask: Callable[..., dict[str, Any]], prefix: str) -> Iterator[Upload]:
    """The uploads to keys that begin with a prefix; none where the server does not say.

    Args:
        ask: does an operation of S3 in the bucket.

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


def _pages(
    ask: Callable[..., dict[str, Any]], operation: str, markers: tuple[str, ...], **asked: str
) -> Iterator[dict[str, Any]]:
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
