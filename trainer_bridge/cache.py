"""Shards of a bucket on a disk of this machine, shared by all of its processes.

A copy is there whole or not at all: bytes are counted before they are fetched, held against the SHA-256 that
the version names, and get their name last. What is read is held by a lock of the system's, which ends with
its process however that ends; so does the lock under which a shard is fetched, once for all who want it.

    <sha256>.tar    a whole copy; open for reading it is locked shared, and then nobody evicts it
    <sha256>.part   a copy on its way; locked by whoever fetches it, a leftover if nobody does
    door            locked while room is made

A cache only ever speeds up. Whoever is not given a copy reads from the bucket.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from shards.ahead import in_order
from shards.backend import Ranges
from shards.errors import UserError
from shards.manifest import ShardEntry
from shards.store import Store
from trainer_bridge.copies import (
    CacheCounts,
    Copy,
    DiskError,
    Held,
    disk,
    held_in,
    is_at,
    lock_alone,
    locked,
    mark_used,
    unlock,
)

_log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK_BYTES = 8 * 1024 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Fetched(Enum):
    """How an attempt to fetch a shard ended."""

    THERE = "a whole copy is there"
    BUSY = "somebody else is fetching it"
    NO_ROOM = "there is no room for it"
    STOPPED = "whoever asked wants it no more"


class Cache:
    """Copies of whole shards under one folder; it may be sent to other processes.

    Args:
        folder: on a disk of this machine; locks of network filesystems are slow, or none. Datasets, versions
            and users of one group may share it: a copy is named by its content.
        max_bytes: of all copies together, those on their way included.

    Raises:
        UserError: the folder cannot be written to, or `max_bytes` is less than 1.
    """

    def __init__(self, folder: Path | str, max_bytes: int) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.max_bytes = max_bytes
        self.counts = CacheCounts()
        self._told: set[str] = set()
        if max_bytes < 1:
            raise UserError(f"cache: {max_bytes} bytes hold nothing; give at least the size of a shard")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._door():
                self._sweep()
        except OSError as error:
            raise UserError(
                f"cache {self.folder}: cannot be written to ({error.strerror}); name another folder"
            ) from error

    def __reduce__(self) -> tuple[type[Cache], tuple[Path, int]]:
        return Cache, (self.folder, self.max_bytes)

    def __repr__(self) -> str:
        return f"Cache({str(self.folder)!r}, {self.max_bytes})"

    def check(self, store: Store, shards: Iterable[ShardEntry]) -> None:
        """Refuse to be a cache that cannot hold the largest of these shards.

        Raises:
            UserError: it cannot.
        """
        largest = max((shard for shard in shards), key=lambda shard: shard.bytes, default=None)
        if store.is_remote and largest and largest.bytes > self.max_bytes:
            raise UserError(
                f"cache {self.folder}: {self.max_bytes} bytes do not hold {store.where(largest.name)}, which "
                f"has {largest.bytes}; give it that many for each shard that is to be kept"
            )

    def ranges(self, store: Store, entry: ShardEntry) -> Ranges | None:
        """The copy of a shard, if it is there; until it is closed nobody evicts it.

        Returns:
            None if there is no copy: what is asked for lies in a folder, or was not fetched.
        """
        if not cachable(store, entry):
            return None
        copy = self.hold(entry)
        if copy:
            self.counts.hits += 1
        else:
            self.counts.misses += 1
        return copy

    def fetch(self, store: Store, entry: ShardEntry, keep: Collection[str] = ()) -> bool:
        """Have a copy of a shard; if another process is fetching it, wait until it has ended.

        Args:
            keep: SHA-256 of shards whose copies are not to make room for it, besides those that are open.

        Returns:
            Whether a copy is there. It is not if there is no room for it, or what is asked for lies in a
            folder, whose files are never copied.

        Raises:
            FileNotFoundError: the shard is missing.
            UserError: the bucket gives it to nobody, or its bytes are not those that were published.
        """
        while (ended := self.attempt(store, entry, keep)) is Fetched.BUSY:
            self._wait_for(entry)
        return ended is Fetched.THERE

    def attempt(
        self,
        store: Store,
        entry: ShardEntry,
        keep: Collection[str] = (),
        stopped: Callable[[], bool] = lambda: False,
    ) -> Fetched:
        """As `fetch`, but waits for nobody.

        Args:
            stopped: is asked now and then whether to leave off.
        """
        if not cachable(store, entry) or entry.bytes > self.max_bytes:
            return Fetched.NO_ROOM
        try:
            return self._attempt(store, entry, keep, stopped)
        except DiskError as error:
            # Not each time: a full disk stays full.
            if str(error) not in self._told:
                self._told.add(str(error))
                _log.warning("cache %s: %s; shards are read from the bucket", self.folder, error)
            return Fetched.NO_ROOM

    def discard(self, entry: ShardEntry) -> None:
        """Take away a copy that was found damaged; whoever has it open may read on."""
        if _SHA256.fullmatch(entry.sha256):
            with suppress(OSError):
                self._copy(entry).unlink()

    def hold(self, entry: ShardEntry) -> Copy | None:
        """As `ranges`, but told in no count."""
        try:
            copy = Copy(self._copy(entry))
        except OSError:
            return None
        if copy.size_bytes != entry.bytes:
            copy.close()
            return None
        return copy

    def _attempt(
        self, store: Store, entry: ShardEntry, keep: Collection[str], stopped: Callable[[], bool]
    ) -> Fetched:
        if self._is_whole(entry):
            return Fetched.THERE
        part = self._part(entry)
        with disk():
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # A name may have gone to another file, or the file become the copy, before it was locked.
            with disk():
                mine = locked(descriptor) and is_at(descriptor, part)
            if not mine:
                return Fetched.BUSY
            try:
                if self._is_whole(entry):
                    return Fetched.THERE
                if not self._reserve(descriptor, entry, keep):
                    return Fetched.NO_ROOM
                if not self._download(store, entry, descriptor, stopped):
                    return Fetched.STOPPED
                with disk():
                    os.fsync(descriptor)
                    mark_used(descriptor)
                    part.rename(self._copy(entry))
            finally:
                if is_at(descriptor, part):
                    with suppress(OSError):
                        part.unlink()
        finally:
            unlock(descriptor)
        self.counts.fetched += 1
        self.counts.fetched_bytes += entry.bytes
        return Fetched.THERE

    def _is_whole(self, entry: ShardEntry) -> bool:
        """Whether there is a copy; one that lost its end, as disks do when power fails, is taken away."""
        try:
            whole = self._copy(entry).stat().st_size == entry.bytes
        except OSError:
            return False
        if not whole:
            self.discard(entry)
        return whole

    def _download(
        self, store: Store, entry: ShardEntry, descriptor: int, stopped: Callable[[], bool]
    ) -> bool:
        """Fill a file that has its size already; returns False if it was stopped."""
        digest, place = hashlib.sha256(), 0
        source = store.ranges(entry.name)
        starts = range(0, entry.bytes, _BLOCK_BYTES)

        def read(start: int) -> bytes:
            return source.read(start, min(_BLOCK_BYTES, entry.bytes - start))

        blocks = in_order(store, read, starts, lambda _: _BLOCK_BYTES)
        try:
            for block in blocks:
                if stopped():
                    return False
                digest.update(block)
                with disk():
                    while block:
                        written = os.pwrite(descriptor, block, place)
                        place, block = place + written, block[written:]
        finally:
            source.close()
        if digest.hexdigest() != entry.sha256:
            raise UserError(
                f"{store.where(entry.name)}: its first {entry.bytes} bytes have sha256 {digest.hexdigest()}, "
                f"the version says {entry.sha256}; bring the published file back"
            )
        return True

    def _reserve(self, descriptor: int, entry: ShardEntry, keep: Collection[str]) -> bool:
        """Make room for a shard and take it, so that everybody counts it from now on."""
        with disk(), self._door():
            # What it still has is of somebody who died.
            os.ftruncate(descriptor, 0)
            self._sweep()
            held = held_in(self.folder)
            excess = sum(one.size_bytes for one in held) + entry.bytes - self.max_bytes
            if not self._evict(held, excess, keep):
                return False
            try:
                os.posix_fallocate(descriptor, 0, entry.bytes)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                # The disk is smaller than the cache may be: then it is full when the disk is.
                os.ftruncate(descriptor, 0)
                if not self._evict(held_in(self.folder), entry.bytes, keep):
                    raise
                os.posix_fallocate(descriptor, 0, entry.bytes)
        return True

    def _evict(self, held: Iterable[Held], size_bytes: int, keep: Collection[str]) -> bool:
        """Remove those used longest ago, as far as it takes; none at all if that would not be enough."""
        chosen: list[tuple[Path, int]] = []
        freed = 0
        try:
            for one in sorted(held, key=lambda one: one.used_ns):
                if freed >= size_bytes:
                    break
                evictable = one.path.suffix == ".tar" and one.path.stem not in keep
                if evictable and (descriptor := lock_alone(one.path)) is not None:
                    chosen.append((one.path, descriptor))
                    freed += one.size_bytes
            if freed < size_bytes:
                return False
            for path, _ in chosen:
                path.unlink(missing_ok=True)
                self.counts.evicted += 1
            return True
        finally:
            for _, descriptor in chosen:
                unlock(descriptor)

    def _sweep(self) -> None:
        """Remove what the dead have left."""
        for one in held_in(self.folder):
            if one.path.suffix == ".part" and (descriptor := lock_alone(one.path)) is not None:
                one.path.unlink(missing_ok=True)
                unlock(descriptor)
                self.counts.leftovers += 1

    def _wait_for(self, entry: ShardEntry) -> None:
        """Wait until whoever is fetching a shard has ended."""
        with suppress(OSError):
            descriptor = os.open(self._part(entry), os.O_RDONLY)
            try:
                # Shared, as what was fetched is open to readers at once, and may be for hours.
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            finally:
                os.close(descriptor)

    @contextmanager
    def _door(self) -> Iterator[None]:
        descriptor = os.open(self.folder / "door", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            unlock(descriptor)

    def _copy(self, entry: ShardEntry) -> Path:
        return self.folder / f"{entry.sha256}.tar"

    def _part(self, entry: ShardEntry) -> Path:
        return self.folder / f"{entry.sha256}.part"


def cachable(store: Store, entry: ShardEntry) -> bool:
    """Whether a shard is one to be copied: it lies in a bucket, and its version says what its bytes are."""
    return store.is_remote and entry.bytes > 0 and _SHA256.fullmatch(entry.sha256) is not None
