"""Who is at work on a dataset: a small object for each run, there from its start to its end.

Builds do not mind each other. Garbage collection and builds do: what a build has written, and not named in
a version yet, looks like garbage. Forgetting minds everybody, itself too: a build that began before would
write down again what it had read of a video. Each announces itself first and looks for the others then, so
of two that begin at once none goes on or one does, and never both.

A run that is killed leaves its object behind. On its own machine it is known to be dead; elsewhere it is
taken for dead when it has not been heard of for a day.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from shards.errors import UserError
from shards.store import Store

Work = Literal["build", "gc", "forget"]

SILENT_S = 86400.0
"""A run that was not heard of for so long is dead."""

_FOLDER = "runs"
_BEAT_S = 600.0
_NOT_BESIDE: dict[Work, tuple[Work, ...]] = {
    "build": ("gc", "forget"),
    "gc": ("build", "forget"),
    "forget": ("build", "gc", "forget"),
}
_KNOWN_AS: dict[Work, str] = {"build": "a build", "gc": "genieset gc", "forget": "genieset forget"}
_START_TICKS = 19  # of the fields of /proc/<pid>/stat after the name: proc(5), field 22


class Announcement:
    """The object of a run that is at work."""

    def __init__(self, store: Store, work: Work) -> None:
        self._store = store
        self._work = work
        self.name = f"{_FOLDER}/{work}-{os.getpid()}-{os.urandom(4).hex()}.json"
        self._put()

    def beat(self) -> None:
        """Say that the run lives on; often called, it does so every ten minutes."""
        if time.time() - self._at >= _BEAT_S:
            self._put()

    def _put(self) -> None:
        self._at = time.time()
        told = {"work": self._work, "at": self._at, "machine": _machine(), "pid": os.getpid()}
        body = told | {"started": _started(os.getpid())}
        self._store.put(self.name, json.dumps(body, sort_keys=True).encode() + b"\n")


@contextmanager
def announce(store: Store, work: Work) -> Iterator[Announcement]:
    """Be known to be at work on a dataset.

    Raises:
        UserError: something is at work there that this does not go together with.
    """
    mine = Announcement(store, work)
    try:
        for told in living(store):
            if told["work"] in _NOT_BESIDE[work] and told["name"] != mine.name:
                what = _KNOWN_AS[told["work"]]
                raise UserError(
                    f"dataset {store.url}: {what} is at work there (process {told['pid']}); wait for its end"
                )
        yield mine
    finally:
        store.remove(mine.name)


def living(store: Store) -> list[dict[str, Any]]:
    """What the runs say of themselves that are at work, and as `name` the object in which each does.

    Objects of those known to be dead are removed.
    """
    found = []
    for name in store.list(_FOLDER):
        try:
            told = json.loads(store.read(name))
        except FileNotFoundError:
            continue  # it has just ended
        if _is_dead(told):
            store.remove(name)
        else:
            found.append(told | {"name": name})
    return found


def _is_dead(told: dict[str, Any]) -> bool:
    if told["machine"] == _machine():
        return bool(_started(told["pid"]) != told["started"])
    return bool(time.time() - told["at"] > SILENT_S)


def _machine() -> str:
    """This boot of this machine, and what its process numbers are counted in."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _started(pid: int) -> str | None:
    """When a process began, in ticks of the machine, since numbers are used again; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None
    return stat.rpartition(")")[2].split()[_START_TICKS]
