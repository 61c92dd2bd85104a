"""Objects as files of a local folder.

A writer dies at any instruction and no reader ever sees half an object: bytes go to `.tmp/`, are
synced, and take their name by one rename (replace) or one hard link (create if absent), after which
the folder is synced too.
"""

from __future__ import annotations

import builtins
import errno
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedRandom, BufferedReader
from pathlib import Path

import pyarrow as pa

from shards.backend import STAGING
from shards.bucket import Upload
from shards.errors import UserError

_serial = itertools.count()
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class LocalFolder:
    """A `shards.backend.Backend` over the files under one folder.

    Args:
        url: of the dataset, for messages.

    Raises:
        UserError: the root is a file.
    """

    def __init__(self, url: str, root: Path) -> None:
        self.root = root
        self._url = url
        if root.exists() and not root.is_dir():
            raise UserError(f"dataset {url}: is a file; give a folder")
        self._lasting: set[Path] = set()

    @property
    def everywhere(self) -> str:
        """The absolute path of the folder."""
        return str(self.root)

    def where(self, name: str) -> str:
        """The path of a file."""
        return str(self.root / name)

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
    def stage(self) -> Iterator[BufferedRandom]:
        """A file in `.tmp/`.

        Raises:
            UserError: the folder cannot be written to, or its disk is full.
        """
        folder = self.root / STAGING
        path = folder / f"{os.getpid()}-{next(_serial)}-{os.urandom(4).hex()}"
        try:
            self.make_folder(folder)
            file = path.open("x+b")
        except OSError as error:
            raise UserError(f"dataset {self._url}: cannot be written to ({error.strerror})") from error
        try:
            with file:
                yield file
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise UserError(
                f"dataset {self._url}: {error.strerror}; make room, then the same command goes on from here"
            ) from error
        finally:
            path.unlink(missing_ok=True)

    def publish(self, file: BufferedRandom, name: str, *, if_absent: bool) -> bool:
        """Sync the bytes, then name them."""
        file.flush()
        os.fsync(file.fileno())
        staged, target = Path(file.name), self.root / name
        self.make_folder(target.parent)
        published = True
        if if_absent:
            try:
                target.hardlink_to(staged)
            except FileExistsError:
                published = False
        else:
            staged.replace(target)
        # Also for another's object: whoever made it may have died before this.
        sync_folder(target.parent)
        return published

    def create(self, name: str, data: bytes) -> bool:
        """As `publish` with `if_absent`, without writing bytes that nobody will want."""
        if self.exists(name):
            sync_folder((self.root / name).parent)
            return False
        with self.stage() as file:
            file.write(data)
            return self.publish(file, name, if_absent=True)

    def read(self, name: str) -> bytes:
        """The file's bytes."""
        return (self.root / name).read_bytes()

    def ranges(self, name: str) -> FileRanges:
        """The file, held open."""
        return FileRanges(self.root / name)

    def open(self, name: str) -> BufferedReader:
        """The file."""
        return (self.root / name).open("rb")

    def arrow(self, name: str) -> pa.NativeFile:
        """The file, opened by Arrow."""
        path = self.root / name
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return pa.OSFile(str(path))

    def exists(self, name: str) -> bool:
        """Whether it is a file."""
        return (self.root / name).is_file()

    def size_bytes(self, name: str) -> int:
        """The file's size."""
        return (self.root / name).stat().st_size

    def remove(self, name: str) -> None:
        """Unlink the file."""
        (self.root / name).unlink(missing_ok=True)

    def folders(self, folder: str) -> list[str]:
        """The folders in the folder; one that is not there holds none, and what is a link leads elsewhere."""
        return self._names(folder, lambda entry: entry.is_dir(follow_symlinks=False))

    def links(self, folder: str) -> list[str]:
        """The links to folders in the folder."""
        return self._names(folder, lambda entry: entry.is_symlink() and entry.is_dir())

    def list(self, folder: str) -> list[str]:
        """The files in the folder; one that is not there holds none."""
        return self._names(folder, lambda entry: entry.is_file())

    def modified_s(self, name: str) -> float:
        """When the file was written, in seconds of Unix time."""
        return (self.root / name).stat().st_mtime

    def stamp(self, name: str) -> str:
        """Size, time and inode: what is put gets another inode."""
        told = (self.root / name).stat()
        return f"{told.st_size}-{told.st_mtime_ns}-{told.st_ino}"

    def uploads(self) -> Sequence[Upload]:
        """None: a file that is being written lies in `.tmp/`."""
        return ()

    def end_upload(self, upload: Upload) -> None:
        """There is none."""

    def settle(self, folder: str) -> None:
        """Sync the folder."""
        sync_folder(self.root / folder)

    # Not `list`, which is a method here.
    def _names(self, folder: str, wanted: Callable[[os.DirEntry[str]], bool]) -> builtins.list[str]:
        path = self.root / folder
        if not path.is_dir():
            return []
        inside = f"{folder}/" if folder else ""
        with os.scandir(path) as entries:
            return sorted(inside + entry.name for entry in entries if wanted(entry))


class FileRanges:
    """A file that is held open and read at offsets, so that it needs no lock."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)

    def __del__(self) -> None:
        self.close()

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer only at the file's end."""
        return os.pread(self._file.fileno(), size, offset)

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "_file"):
            self._file.close()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
