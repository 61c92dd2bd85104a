"""The files of a cache: how they are held, and by whom."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_OURS = re.compile(r"[0-9a-f]{64}\.(tar|part)")


@dataclass
class CacheCounts:
    """What one process has had of a cache.

    Attributes:
        hits: shards that were opened as a copy.
        misses: shards that were asked for and not there.
        fetched: shards that this process fetched.
        fetched_bytes: their bytes.
        evicted: copies it removed to make room.
        leftovers: what it removed of processes that died while they fetched.
    """

    hits: int = 0
    misses: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    evicted: int = 0
    leftovers: int = 0


class Held(NamedTuple):
    """A file that takes up room in a cache, and when it was last used, in nanoseconds of Unix time."""

    path: Path
    size_bytes: int
    used_ns: int


def held_in(folder: Path) -> list[Held]:
    """All that takes up room in a cache; other files in its folder are none of its own."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    told = entry.stat(follow_symlinks=False)
                    found.append(Held(Path(entry.path), told.st_size, told.st_mtime_ns))
    return found


class Copy:
    """A copy that is open and locked; a `shards.backend.Ranges`.

    Raises:
        OSError: it is not there, or about to be evicted.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            told = os.fstat(self._file.fileno())
            if not told.st_nlink:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            self.size_bytes = told.st_size
            # Of somebody else's files the time may not be set; then they are the first to go.
            with suppress(PermissionError):
                mark_used(self._file.fileno())
        except OSError:
            self.close()
            raise

    def __del__(self) -> None:
        self.close()

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer only at the copy's end."""
        return os.pread(self._file.fileno(), size, offset)

    def close(self) -> None:
        """Close it, which ends the lock."""
        if hasattr(self, "_file"):
            self._file.close()


class DiskError(Exception):
    """The folder of the cache failed, as opposed to the bucket."""


@contextmanager
def disk() -> Iterator[None]:
    """What fails within is the disk's fault; raises DiskError."""
    try:
        yield
    except OSError as error:
        raise DiskError(error.strerror or str(error)) from error


def mark_used(descriptor: int) -> None:
    """Set when a file was last used to now, finer than the system's own clock of files ticks."""
    os.utime(descriptor, ns=(time.time_ns(),) * 2)


def locked(descriptor: int) -> bool:
    """Whether the file could be locked for this process alone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        there = path.stat()
    except OSError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def lock_alone(path: Path) -> int | None:
    """Lock a file that nobody has open or fetches: a descriptor to be closed, or None if somebody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    if locked(descriptor) and is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def unlock(descriptor: int) -> None:
    """Close a file and end its lock, also where a fork of this process has the descriptor too."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
