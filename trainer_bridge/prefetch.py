"""Fetching ahead: the order of windows tells which shards will be needed, so they are there when they are.

One thread keeps the next shards in the cache and holds them, so that no other process evicts what this one
is about to read. Those of one machine share the work: a shard that another is fetching is passed by.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from shards.backend import Ranges
from shards.errors import UserError
from shards.manifest import ShardEntry
from shards.store import Store
from trainer_bridge.cache import Cache, Fetched, cachable

_log = logging.getLogger(__name__)

AHEAD_SHARDS = 48
"""So many shards are held at most, each by an open file: three blocks of the order."""

# So that an endless order of few shards ends.
_LOOKED_AT = 10_000
_FIRST_PAUSE_S = 30.0
_END_S = 5.0
_ENDED = "fetching ahead has ended; shards are read from the bucket"


class _Failure(NamedTuple):
    """When a shard is tried again, by the monotonic clock; the pauses between two tries double."""

    again_s: float
    pause_s: float


class Prefetcher:
    """Keeps the shards that come next in a cache. Use as a context manager, or call `close`.

    Args:
        upcoming: gives the shards in the order in which they will be needed, the one in use first; it is
            called by another thread, is read only as far as there is room, and may be endless.
        ahead_bytes: of the shards that are fetched ahead and held; the whole cache by default. Where several
            ranks share a cache, give each its part.
        ahead_shards: likewise, their number.
    """

    def __init__(
        self,
        cache: Cache,
        upcoming: Callable[[], Iterable[tuple[Store, ShardEntry]]],
        *,
        ahead_bytes: int | None = None,
        ahead_shards: int = AHEAD_SHARDS,
    ) -> None:
        self._cache = cache
        self._upcoming = upcoming
        self._ahead_bytes = cache.max_bytes if ahead_bytes is None else ahead_bytes
        self._ahead_shards = ahead_shards
        self._held: dict[str, Ranges] = {}
        self._failed: dict[str, _Failure] = {}
        self._moved = threading.Event()
        self._moved.set()
        self._closed = threading.Event()
        self._settled = threading.Event()
        self._telling = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def advance(self) -> None:
        """Tell that `upcoming` would now say something else; costs nothing to call at each step."""
        with self._telling:
            self._moved.set()
            self._settled.clear()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all that can be fetched now is there; False if that took longer."""
        return self._settled.wait(timeout_s)

    def close(self) -> None:
        """Leave off; what was fetched stays in the cache. A request under way is not waited for long."""
        self._closed.set()
        self._moved.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                self._moved.wait()
                self._moved.clear()
                self._round()
                with self._telling:
                    if not self._moved.is_set():
                        self._settled.set()
        except RuntimeError as error:
            # With the interpreter threads end, and a download that nobody closed has no more of them.
            if "shutdown" not in str(error):
                _log.exception(_ENDED)
        except Exception:
            # Whatever it is, training goes on without.
            _log.exception(_ENDED)
        finally:
            for copy in self._held.values():
                copy.close()
            self._held.clear()
            with self._telling:
                self._settled.set()

    def _round(self) -> None:
        wanted = self._wanted()
        for sha256 in self._held.keys() - wanted.keys():
            self._held.pop(sha256).close()
        self._failed = {sha256: one for sha256, one in self._failed.items() if sha256 in wanted}
        for sha256, (store, entry) in wanted.items():
            if self._closed.is_set():
                return
            failed = self._failed.get(sha256)
            if sha256 in self._held or (failed and time.monotonic() < failed.again_s):
                continue
            try:
                ended = self._cache.attempt(store, entry, wanted.keys(), self._closed.is_set)
            except (UserError, OSError) as error:
                pause_s = 2 * failed.pause_s if failed else _FIRST_PAUSE_S
                self._failed[sha256] = _Failure(time.monotonic() + pause_s, pause_s)
                # Once a shard: whoever reads it will say what it means to him.
                if not failed:
                    _log.warning("%s is not fetched ahead: %s", store.where(entry.name), error)
                continue
            if ended in (Fetched.NO_ROOM, Fetched.STOPPED):
                return
            if ended is Fetched.THERE and (copy := self._cache.hold(entry)):
                self._held[sha256] = copy
                if self._moved.is_set():
                    # What comes next may be another shard by now.
                    return

    def _wanted(self) -> dict[str, tuple[Store, ShardEntry]]:
        wanted: dict[str, tuple[Store, ShardEntry]] = {}
        left = self._ahead_bytes
        for store, entry in islice(self._upcoming(), _LOOKED_AT):
            if entry.sha256 in wanted or not cachable(store, entry):
                continue
            left -= entry.bytes
            if left < 0 or len(wanted) == self._ahead_shards:
                break
            wanted[entry.sha256] = store, entry
        return wanted
