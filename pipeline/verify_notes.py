"""What an interrupted verify had found whole, so that its repetition goes on from there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence

from pipeline.progress import Progress
from shards.checks.shard import ShardSeen
from shards.errors import UserError
from shards.store import Store

# Raised whenever the checks find more.
_CHECKS = 1

# Bytes rot meanwhile: what was seen longer ago than this is looked at again.
_OLDEST_S = 7 * 24 * 3600.0


class Notes:
    """The notes of a run over one version.

    Each holds for the same checks of the same task over objects that were not written anew, and for a week;
    only what is whole is noted. A dataset that cannot be written to is verified without them.

    Args:
        version: name of its object.
    """

    def __init__(self, store: Store, version: str, progress: Progress) -> None:
        self._store = store
        self._progress = progress
        try:
            digest = hashlib.sha256(store.read(version)).hexdigest()[:16]
        except OSError:
            digest = "unreadable"
        number = version.removesuffix(".json").rpartition("/")[2]
        self._folder = f"reports/verify/{number}-{digest}"
        self._writable = True
        self._there = set(store.list(self._folder))

    def seen(self, name: str, key: str, objects: Sequence[str]) -> ShardSeen | None:
        """What was found of an object, if that still holds.

        Args:
            key: all that the check depends on.
            objects: those that it looked at; without any nothing is noted.
        """
        note = self._note(name)
        if not objects or note not in self._there:
            return None
        try:
            body = json.loads(self._store.read(note))
            if body["held"] != self._held(key, objects) or not 0 <= time.time() - body["at"] < _OLDEST_S:
                return None
            return ShardSeen(name, int(body["samples"]), int(body["decoded"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def add(self, seen: ShardSeen, key: str, objects: Sequence[str]) -> None:
        """Note that an object was found whole."""
        if not objects or not self._writable:
            return
        try:
            body = {"at": time.time(), "held": self._held(key, objects)}
            body |= {"samples": seen.samples, "decoded": seen.decoded}
            self._store.put(self._note(seen.name), json.dumps(body).encode() + b"\n")
            self._there.add(self._note(seen.name))
        except (OSError, UserError) as error:
            self._writable = False
            self._progress.note(f"an interrupted verify will begin anew: {error}")

    def forget(self) -> None:
        """Throw the notes away."""
        for note in self._there:
            self._store.remove(note)
        self._there.clear()

    def _note(self, name: str) -> str:
        return f"{self._folder}/{name.replace('/', '_')}.json"

    def _held(self, key: str, objects: Sequence[str]) -> str:
        stamps = [self._store.stamp(name) for name in objects]
        return hashlib.sha256(json.dumps([_CHECKS, key, stamps]).encode()).hexdigest()
