"""Scratch: where a download lies until its clips are packed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.outcomes import FINAL_FAILURES, Failed
from shards.errors import UserError

# What was downloaded in part waits so long for another try.
_KEPT_S = 7 * 24 * 3600.0


@contextmanager
def scratch_folder(dataset: str, video_id: str) -> Iterator[Path]:
    """A folder for a video's bytes; gone afterwards, unless the work failed for a passing reason.

    It is the same one at every try, so that bytes once downloaded are continued. Another process
    that works on the same video at the same time gets a folder of its own.

    Raises:
        UserError: the place for scratch folders is a link or belongs to another user.
    """
    name = _digest(dataset)
    folder = private_folder(name) / video_id
    lock = _lock(name, folder)
    if lock is None:
        with tempfile.TemporaryDirectory(dir=folder.parent) as private:
            yield Path(private)
        return
    _sweep(folder.parent)
    keep = False
    try:
        yield folder
    except Failed as failed:
        keep = failed.failure not in FINAL_FAILURES
        raise
    finally:
        if not keep:
            shutil.rmtree(folder)
        os.close(lock)
        # Whoever comes last clears the place away.
        with suppress(OSError):
            folder.parent.rmdir()


def held_bytes(dataset: str, video_id: str) -> int:
    """How much lies in a video's scratch folder, if it has one."""
    folder = _private_path(_digest(dataset)) / video_id
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def clear_scratch(dataset: str, video_ids: Collection[str]) -> None:
    """Remove what this machine has of videos that nobody works on: of these, and of nobody knows which.

    Args:
        dataset: as for `scratch_folder`.
    """
    base = _private_path(_digest(dataset))
    if base.is_symlink() or not base.is_dir():
        return
    for folder in list(base.iterdir()):
        # A folder of a second process on one video is called by chance, and an id has a `-`.
        if folder.name in video_ids or "-" not in folder.name:
            _remove_unheld(folder)
    with suppress(OSError):
        base.rmdir()


def private_folder(name: str) -> Path:
    """A folder among the temporary ones that is this user's alone; it is there from one run to the next.

    Raises:
        UserError: the place for it is a link or belongs to another user.
    """
    folder = _private_path(name)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UserError(f"{folder}: is not a folder of this user; set TMPDIR to a folder of your own")
    return folder


def _private_path(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"genieset-{os.getuid()}-{name}"


def _sweep(base: Path) -> None:
    """Bytes that nobody came back for are not waited with for ever."""
    for folder in base.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > _KEPT_S:
                _remove_unheld(folder)


def _remove_unheld(folder: Path) -> None:
    """Remove a folder, unless a process holds it."""
    with suppress(FileNotFoundError, BlockingIOError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(descriptor)


def _lock(name: str, folder: Path) -> int | None:
    """Make a folder and hold it: a descriptor to be closed, or None if another process holds it."""
    while True:
        try:
            private_folder(name)
            folder.mkdir(exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        # Whoever held it before may have removed what was opened here.
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


def _digest(dataset: str) -> str:
    return hashlib.sha256(dataset.encode()).hexdigest()[:12]
