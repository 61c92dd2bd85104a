"""Objects under a prefix of a bucket: `s3://BUCKET/PREFIX`, at any endpoint, and `gs://BUCKET/PREFIX`.

An object gets its name when its last byte has arrived, and not before: that is what object stores
promise. "Create if absent" is a put with a condition. A server that takes the condition and ignores it
cannot keep two writers apart; it is found out before the first such put, and refused.

Nothing is cached: not a listing, not whether an object is there. An object is staged in a local
temporary file, which has no name and so is gone with its process, and sent from there in parts.
"""

from __future__ import annotations

import errno
import io
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedRandom, BufferedReader
from typing import TYPE_CHECKING

import pyarrow as pa

from shards.backend import STAGING
from shards.bucket import Bucket, Found, Patience, Upload
from shards.errors import UserError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PROBE = f"{STAGING}/created-if-absent"
"""The object with which a server shows that it obeys conditions; it stays, so that one put is enough."""

_PLACE = re.compile(
    r"(?P<scheme>s3|gs)://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,221})(/(?P<prefix>.*))?", re.I
)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class ObjectPrefix:
    """A `shards.backend.Backend` over the objects under one prefix.

    Raises:
        UserError: the URL names no bucket, or holds what belongs in the environment.
    """

    def __init__(self, url: str, patience: Patience) -> None:
        found = _PLACE.fullmatch(url)
        if not found or re.search(r"[?#@]|//|(^|/)\.\.?(/|$)", found["prefix"] or ""):
            # Not repeated: what stands there may be a secret.
            scheme = url.partition("://")[0].lower()
            raise UserError(
                f"dataset {scheme}://...: is no bucket and prefix; give {scheme}://BUCKET/PREFIX, and the "
                "endpoint and credentials in the environment"
            )
        self._scheme, self._bucket_name = found["scheme"].lower(), found["bucket"]
        self._prefix = (found["prefix"] or "").strip("/")
        self._patience = patience

    @property
    def everywhere(self) -> str:
        """The URL."""
        return "/".join(filter(None, (f"{self._scheme}://{self._bucket_name}", self._prefix)))

    def where(self, name: str) -> str:
        """The URL of an object."""
        return f"{self.everywhere}/{name}"

    @contextmanager
    def stage(self) -> Iterator[BufferedRandom]:
        """A temporary file of this machine; `TMPDIR` says where.

        Raises:
            UserError: it cannot be made, or its disk is full.
        """
        try:
            with tempfile.TemporaryFile("w+b", prefix="genieset-") as file:
                yield file
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise UserError(
                f"{tempfile.gettempdir()}: {error.strerror}; make room, or name another folder by TMPDIR, "
                "then the same command goes on from here"
            ) from error

    def publish(self, file: BufferedRandom, name: str, *, if_absent: bool) -> bool:
        """Send the bytes; nothing is to be seen of them before all have arrived."""
        size = file.seek(0, io.SEEK_END)
        if if_absent:
            self._be_sure_of_conditions(size)
        return self._bucket.put(self._key(name), file, size, if_absent=if_absent)

    def create(self, name: str, data: bytes) -> bool:
        """One put, with the condition."""
        self._be_sure_of_conditions(len(data))
        return self._bucket.put(self._key(name), io.BytesIO(data), len(data), if_absent=True)

    def read(self, name: str) -> bytes:
        """One request."""
        return self._bucket.get(self._key(name))

    def ranges(self, name: str) -> ObjectRanges:
        """Each read is one request."""
        return ObjectRanges(self._bucket, self._key(name))

    def open(self, name: str) -> BufferedReader:
        """A reader that asks for larger blocks the longer it is read without a leap."""
        key = self._key(name)
        return BufferedReader(_Blocks(self._bucket, key, self._found(name)), _FIRST_BLOCK_BYTES)

    def arrow(self, name: str) -> pa.NativeFile:
        """The whole object in memory if it is small; else read block by block."""
        data = self._bucket.get(self._key(name), 0, _WHOLE_BYTES)
        if len(data) < _WHOLE_BYTES:
            return pa.BufferReader(data)
        return pa.PythonFile(self.open(name), mode="r")

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name."""
        return self._bucket.find(self._key(name)) is not None

    def size_bytes(self, name: str) -> int:
        """The size of an object."""
        return self._found(name).size

    def remove(self, name: str) -> None:
        """Take an object away."""
        self._bucket.remove(self._key(name))

    def folders(self, folder: str) -> list[str]:
        """What the names of objects further down begin with, up to their next `/`."""
        inside = f"{folder}/" if folder else ""
        under = self._key(inside)
        return sorted(inside + key[len(under) :].rstrip("/") for key in self._bucket.folders(under))

    def links(self, folder: str) -> list[str]:  # noqa: ARG002 - as for a local folder
        """None: there are no links."""
        return []

    def list(self, folder: str) -> list[str]:
        """The objects whose names have no `/` after the folder's; as many as there are."""
        inside = f"{folder}/" if folder else ""
        under = self._key(inside)
        return sorted(inside + key[len(under) :] for key in self._bucket.keys(under) if key != under)

    def modified_s(self, name: str) -> float:
        """When the object was put, in seconds of Unix time by the server's clock."""
        return self._found(name).modified_s

    def stamp(self, name: str) -> str:
        """What the server tells objects' contents apart by, and when it was put."""
        found = self._found(name)
        return f"{found.size}-{found.modified_s}-{found.etag}"

    def uploads(self) -> Sequence[Upload]:
        """Sorted by name."""
        under = self._key("")
        return sorted(
            upload._replace(name=upload.name[len(under) :]) for upload in self._bucket.uploads(under)
        )

    def end_upload(self, upload: Upload) -> None:
        """Throw away the parts."""
        self._bucket.end_upload(upload._replace(name=self._key(upload.name)))

    def settle(self, folder: str) -> None:
        """Nothing: what a bucket says is done outlives it."""

    @property
    def _bucket(self) -> Bucket:
        # The clients are shared within a process, and never between one and its fork.
        if self._scheme == "s3":
            from shards.s3 import open_bucket as open_s3

            return open_s3(self._bucket_name, self._patience)
        from shards.gcs import open_bucket as open_gcs

        return open_gcs(self._bucket_name, self._patience)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _found(self, name: str) -> Found:
        found = self._bucket.find(self._key(name))
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.where(name))
        return found

    def _be_sure_of_conditions(self, size: int) -> None:
        """Raises UserError where a second put of so much would win in spite of its condition."""
        if not self._bucket.obeys(self._key(PROBE), size):
            raise UserError(
                f"dataset {self.everywhere}: its server ignores conditional puts (If-None-Match: *), so that "
                "two writers cannot be kept apart; use a server that knows them, or a local folder"
            )


class ObjectRanges:
    """An object, each range of which is one request."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer only at the object's end."""
        return self._bucket.get(self._key, offset, size)

    def close(self) -> None:
        """Nothing is held."""


class _Blocks(io.RawIOBase):
    """An object as a raw file. One block is held at a time."""

    def __init__(self, bucket: Bucket, key: str, found: Found) -> None:
        super().__init__()
        self._bucket = bucket
        self._key = key
        self._found = found
        self._at = 0
        self._begin = 0
        self._block = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._found.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self._found.size or not len(view):
            return 0
        end = self._begin + len(self._block)
        if not self._begin <= self._at < end:
            # Whoever reads on wants more; whoever leaps wants little.
            ahead = min(2 * len(self._block), _LARGEST_BLOCK_BYTES) if self._at == end else 0
            size = max(ahead, _FIRST_BLOCK_BYTES, min(len(view), _LARGEST_BLOCK_BYTES))
            self._block = b""
            self._begin, self._block = self._at, self._bucket.get(self._key, self._at, size, self._found.etag)
        start = self._at - self._begin
        given = self._block[start : start + len(view)]
        view[: len(given)] = given
        self._at += len(given)
        return len(given)


_FIRST_BLOCK_BYTES = 64 * 1024
_LARGEST_BLOCK_BYTES = 8 * 1024 * 1024
_WHOLE_BYTES = 16 * 1024 * 1024
