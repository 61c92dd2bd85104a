"""A dataset's folder: names in, bytes out, and every object whole or absent.

Names are relative, with `/` between the parts. A writer dies at any instruction and no reader ever
sees half an object: bytes go to `.tmp/`, are synced, and take their name by one rename (replace) or
one hard link (create if absent), after which the folder is synced too.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedRandom, BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import UserError

_STAGING = ".tmp"
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://")
_serial = itertools.count()
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Staged:
    """An object being written; it has no name until `publish` gives it one."""

    def __init__(self, store: Store, path: Path, file: BufferedRandom) -> None:
        self._store = store
        self._path = path
        self.file = file

    def publish(self, name: str, *, if_absent: bool = False) -> bool:
        """Sync the bytes and give them `name`, at once and whole.

        Args:
            if_absent: leave an object that already has the name as it is.

        Returns:
            Whether these bytes are now the object (False only with `if_absent`).
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        target = self._store.path(name)
        self._store.make_folder(target.parent)
        published = True
        if if_absent:
            try:
                target.hardlink_to(self._path)
            except FileExistsError:
                published = False
        else:
            self._path.replace(target)
        # Also for another's object: whoever made it may have died before this.
        sync_folder(target.parent)
        return published


class Store:
    """Objects under one folder, or under a `file://` URL of one.

    Every path of Genieset goes through here, so an object store becomes another backend of this
    class and of nothing else.

    Raises:
        UserError: the URL names a kind of store that is not supported.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = os.fspath(url)
        scheme = _URL.match(self.url)
        if scheme and scheme["scheme"] != "file":
            raise UserError(f"dataset {self.url}: only local folders are supported so far, not {scheme[0]}")
        self.root = Path(self.url.removeprefix("file://")).expanduser().absolute()
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"dataset {self.url}: is a file; give a folder")
        self._lasting: set[Path] = set()

    @property
    def everywhere(self) -> str:
        """The URL that means the same to a process with another working folder."""
        return str(self.root)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def path(self, name: str) -> Path:
        """The local path of `name`.

        Raises:
            ValueError: `name` is absolute or leads out of the store.
        """
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"not a name inside a store: {name!r}")
        return self.root / name

    def make_folder(self, folder: Path) -> None:
        """Create `folder` so that it outlives a power cut together with what is put in it.

        One that is there may be the work of a process that died before it was synced, so each is
        synced when it is first met.
        """
        if folder in self._lasting and folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        above = folder
        while above != self.root.parent and above != above.parent:
            above = above.parent
            sync_folder(above)
        self._lasting.add(folder)

    @contextmanager
    def stage(self) -> Iterator[Staged]:
        """A new object to write to; what is not published is gone afterwards.

        Raises:
            UserError: the folder cannot be written to, or its disk is full.
        """
        folder = self.root / _STAGING
        path = folder / f"{os.getpid()}-{next(_serial)}-{os.urandom(4).hex()}"
        try:
            self.make_folder(folder)
            file = path.open("x+b")
        except OSError as error:
            raise UserError(f"dataset {self.url}: cannot be written to ({error.strerror})") from error
        try:
            with file:
                yield Staged(self, path, file)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise UserError(
                f"dataset {self.url}: {error.strerror}; make room, then the same command goes on from here"
            ) from error
        finally:
            path.unlink(missing_ok=True)

    def put(self, name: str, data: bytes) -> None:
        """Write an object, replacing the one that has the name."""
        with self.stage() as staged:
            staged.file.write(data)
            staged.publish(name)

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless the name is taken; returns whether it was written."""
        if self.exists(name):
            sync_folder(self.path(name).parent)
            return False
        with self.stage() as staged:
            staged.file.write(data)
            return staged.publish(name, if_absent=True)

    def put_table(self, name: str, table: pa.Table) -> None:
        """Write a table as Parquet; equal tables become equal bytes."""
        with self.stage() as staged:
            write_parquet(table, staged.file)
            staged.publish(name)

    def read(self, name: str) -> bytes:
        """All bytes of an object. Raises FileNotFoundError if there is none."""
        return self.path(name).read_bytes()

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer only at the object's end."""
        with self.open(name) as file:
            file.seek(offset)
            return file.read(size)

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet object as a table.

        Raises:
            FileNotFoundError: there is none.
            UserError: it is damaged.
        """
        path = self.path(name)
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        # Read by this thread from a file of Arrow's own: a thread of Arrow's that lets go of a Python
        # file while the interpreter ends brings the process down (apache/arrow#34314).
        try:
            with (
                pa.OSFile(str(path)) as file,
                pq.ParquetFile(file, page_checksum_verification=True) as parquet,
            ):
                return parquet.read(columns=columns, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: is damaged ({str(error).splitlines()[0]}); bring it back") from error

    def open(self, name: str) -> BufferedReader:
        """A seekable reader of an object."""
        return self.path(name).open("rb")

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name."""
        return self.path(name).is_file()

    def size_bytes(self, name: str) -> int:
        """The size of an object. Raises FileNotFoundError if there is none."""
        return self.path(name).stat().st_size

    def stamp(self, name: str) -> str:
        """What differs once an object was written anew. Raises FileNotFoundError if there is none."""
        told = self.path(name).stat()
        return f"{told.st_size}-{told.st_mtime_ns}-{told.st_ino}"

    def remove(self, name: str) -> None:
        """Take an object away; one that is not there is no matter."""
        self.path(name).unlink(missing_ok=True)

    def list(self, folder: str) -> list[str]:
        """Names of the objects directly in a folder, sorted; an absent folder is an empty one."""
        path = self.path(folder)
        if not path.is_dir():
            return []
        return sorted(f"{folder}/{entry.name}" for entry in os.scandir(path) if entry.is_file())


PARQUET_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {"compression": "zstd", "compression_level": 3, "write_page_checksum": True}
)
"""Fixed, so that bytes depend on rows alone; each page with a checksum, so that rot in it is seen."""

ROW_GROUP_ROWS = 65536
"""No group of rows that is written here has more."""


def write_parquet(table: pa.Table, file: BinaryIO) -> None:
    """Parquet with fixed settings, so that the bytes depend on the rows alone."""
    pq.write_table(table, file, row_group_size=ROW_GROUP_ROWS, **PARQUET_SETTINGS)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
