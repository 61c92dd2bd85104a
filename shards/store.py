"""A dataset's folder: names in, bytes out, and every object whole or absent.

Names are relative, with `/` between the parts. A dataset lies in a local folder
(`shards/local_store.py`) or under a prefix of a bucket (`shards/object_store.py`); everything of
Genieset goes through `Store` and does not know which. A writer dies at any instruction and no reader
ever sees half an object.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedRandom, BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from shards.backend import Backend, Ranges
from shards.bucket import DEFAULT_PATIENCE, Patience, Upload
from shards.errors import UserError
from shards.local_store import LocalFolder
from shards.object_store import ObjectPrefix

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_SLIP = re.compile(r"(?P<scheme>s3|gs|file):/?(?P<rest>[^/].*)", re.IGNORECASE)


class Staged:
    """An object being written; it has no name until `publish` gives it one."""

    def __init__(self, store: Store, file: BufferedRandom) -> None:
        self._store = store
        self.file = file

    def publish(self, name: str, *, if_absent: bool = False) -> bool:
        """Give the bytes `name`, at once and whole; when this returns, they outlive a power cut.

        Args:
            if_absent: leave an object that already has the name as it is.

        Returns:
            Whether these bytes are now the object (False only with `if_absent`).

        Raises:
            UserError: the store does not take them; the line says why.
        """
        return self._store.backend.publish(self.file, checked(name), if_absent=if_absent)


class Store:
    """Objects under one folder, or under a `file://`, `s3://` or `gs://` URL.

    Nothing is asked of a bucket before the first object is.

    Args:
        patience: how long an object store is waited for.

    Raises:
        UserError: the URL names a kind of store that is not supported, or no bucket.
    """

    def __init__(self, url: str | os.PathLike[str], *, patience: Patience = DEFAULT_PATIENCE) -> None:
        self.url = os.fspath(url)
        self.backend: Backend = _backend(self.url, patience)

    @property
    def everywhere(self) -> str:
        """The URL that means the same to a process with another working folder."""
        return self.backend.everywhere

    @property
    def name(self) -> str:
        """The last part of the place."""
        return self.everywhere.rstrip("/").rpartition("/")[2]

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def where(self, name: str) -> str:
        """Where an object is or would be, as a person writes it: a path or a URL.

        Raises:
            ValueError: `name` is absolute or leads out of the store.
        """
        return self.backend.where(checked(name))

    @property
    def is_remote(self) -> bool:
        """Whether it lies in a bucket, and has no paths."""
        return not isinstance(self.backend, LocalFolder)

    @property
    def folder(self) -> LocalFolder:
        """The local folder that this is.

        Raises:
            UserError: it is no local folder.
        """
        if not isinstance(self.backend, LocalFolder):
            raise UserError(f"dataset {self.url}: lies in a bucket, and this needs a local folder; copy it")
        return self.backend

    @property
    def root(self) -> Path:
        """The path of the local folder; raises as `folder` does."""
        return self.folder.root

    def path(self, name: str) -> Path:
        """The local path of `name`.

        Raises:
            UserError: the store is no local folder.
            ValueError: `name` is absolute or leads out of the store.
        """
        return self.root / checked(name)

    @contextmanager
    def stage(self) -> Iterator[Staged]:
        """A new object to write to; what is not published is gone afterwards.

        Raises:
            UserError: the folder cannot be written to, or its disk is full.
        """
        with self.backend.stage() as file:
            yield Staged(self, file)

    def put(self, name: str, data: bytes) -> None:
        """Write an object, replacing the one that has the name."""
        with self.stage() as staged:
            staged.file.write(data)
            staged.publish(name)

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless the name is taken; returns whether it was written."""
        return self.backend.create(checked(name), data)

    def put_table(self, name: str, table: pa.Table) -> None:
        """Write a table as Parquet; equal tables become equal bytes."""
        with self.stage() as staged:
            write_parquet(table, staged.file)
            staged.publish(name)

    def read(self, name: str) -> bytes:
        """All bytes of an object. Raises FileNotFoundError if there is none."""
        return self.backend.read(checked(name))

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer only at the object's end. One request to a bucket."""
        ranges = self.backend.ranges(checked(name))
        try:
            return ranges.read(offset, size)
        finally:
            ranges.close()

    def ranges(self, name: str) -> Ranges:
        """An object for many reads by range; a file stays open until it is closed or forgotten."""
        return self.backend.ranges(checked(name))

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet object as a table.

        Raises:
            FileNotFoundError: there is none.
            UserError: it is damaged.
        """
        # Read by this thread from a file of Arrow's own: a thread of Arrow's that lets go of a Python
        # file while the interpreter ends brings the process down (apache/arrow#34314).
        try:
            with (
                self.backend.arrow(checked(name)) as file,
                pq.ParquetFile(file, page_checksum_verification=True) as parquet,
            ):
                return parquet.read(columns=columns, use_threads=False)
        except FileNotFoundError:
            raise
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(
                f"{self.where(name)}: is damaged ({str(error).splitlines()[0]}); bring it back"
            ) from error

    def open(self, name: str) -> BufferedReader:
        """A seekable reader of an object. Raises FileNotFoundError if there is none."""
        return self.backend.open(checked(name))

    def arrow(self, name: str) -> pa.NativeFile:
        """A seekable reader for Arrow's own code. Raises FileNotFoundError if there is no object."""
        return self.backend.arrow(checked(name))

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name."""
        return self.backend.exists(checked(name))

    def size_bytes(self, name: str) -> int:
        """The size of an object. Raises FileNotFoundError if there is none."""
        return self.backend.size_bytes(checked(name))

    def stamp(self, name: str) -> str:
        """What differs once an object was written anew. Raises FileNotFoundError if there is none."""
        return self.backend.stamp(checked(name))

    def remove(self, name: str) -> None:
        """Take an object away; one that is not there is no matter."""
        self.backend.remove(checked(name))

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder, sorted; an absent folder is an empty one.

        A link to a folder is none: what is listed does not lead out of the store.
        """
        return self.backend.folders(checked(folder))

    def links(self, folder: str) -> list[str]:
        """Names of the links to folders directly in a folder, sorted; a bucket has none."""
        return self.backend.links(checked(folder))

    def modified_s(self, name: str) -> float:
        """When an object was written, in seconds of Unix time. Raises FileNotFoundError if there is none."""
        return self.backend.modified_s(checked(name))

    def uploads(self) -> Sequence[Upload]:
        """What is sent to a bucket in parts and not an object yet; whoever was sending it may be dead."""
        return self.backend.uploads()

    def end_upload(self, upload: Upload) -> None:
        """Throw away the parts of an upload; one that has ended is no matter."""
        self.backend.end_upload(upload)

    def settle(self, folder: str) -> None:
        """Make what was removed from a folder stay removed after a power cut."""
        self.backend.settle(checked(folder))

    def list(self, folder: str) -> list[str]:
        """Names of the objects directly in a folder, sorted; an absent folder is an empty one.

        The store's own is ''.
        """
        return self.backend.list(checked(folder))


def checked(name: str) -> str:
    """The name.

    Raises:
        ValueError: it is absolute or leads out of the store.
    """
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"not a name inside a store: {name!r}")
    return name


def is_url(place: str) -> bool:
    """Whether a place is given as a URL, which no working folder changes."""
    return _URL.match(place) is not None


def _backend(url: str, patience: Patience) -> Backend:
    found = _URL.match(url)
    scheme = found["scheme"].lower() if found else "file"
    if not url:
        raise UserError("dataset: its name is empty; give a folder or a URL")
    if meant := _SLIP.match(url):
        raise UserError(f"dataset {url}: did you mean {meant['scheme']}://{meant['rest']}?")
    if scheme == "file":
        path = url[found.end() :] if found else url
        return LocalFolder(url, Path(path).expanduser().absolute())
    if scheme in ("s3", "gs"):
        return ObjectPrefix(url, patience)
    raise UserError(
        f"dataset {scheme}://...: datasets lie in local folders, in s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
    )


PARQUET_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {"compression": "zstd", "compression_level": 3, "write_page_checksum": True}
)
"""Fixed, so that bytes depend on rows alone; each page with a checksum, so that rot in it is seen."""

ROW_GROUP_ROWS = 65536
"""No group of rows that is written here has more."""


def write_parquet(table: pa.Table, file: BinaryIO) -> None:
    """Parquet with fixed settings, so that the bytes depend on the rows alone."""
    pq.write_table(table, file, row_group_size=ROW_GROUP_ROWS, **PARQUET_SETTINGS)
