"""Prove on an engine that nothing is left of forgotten videos; `shards.checks.forgotten` says how.

Objects are looked at in child processes, so bytes that hang one or take it down become a fault and stop
nothing else: a tar by itself, and small objects many at a time, or one by one where many could not be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.engine import Done, Engine, Part, run_through_losses
from pipeline.memory import at_most_more
from pipeline.progress import Progress
from pipeline.verify import fault_of
from shards.checks.faults import Fault
from shards.checks.forgotten import check_object, mentions_of, objects_to_look_at, read_forgotten
from shards.mentions import Mentions
from shards.names import is_ours
from shards.store import Store

_GIB = 1 << 30
_DEADLINE_S = 6 * 3600.0
_AT_ONCE = 100
_SMALL = (".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Objects:
    """What one process looks at: some objects, for what `mentions` finds."""

    store: str
    names: tuple[str, ...]
    mentions: Mentions


@dataclass(frozen=True)
class Remains:
    """What was found.

    Attributes:
        videos: how many were forgotten.
        objects: how many were looked at.
    """

    videos: int
    objects: int
    faults: tuple[Fault, ...]


def verify_forgotten(store: Store, engine: Engine, progress: Progress) -> Remains:
    """Look at every object of a dataset for what is left of forgotten videos.

    Raises:
        UserError: nothing was ever forgotten there, or a receipt is damaged.
    """
    forgotten = read_forgotten(store)
    names = objects_to_look_at(store)
    mentions = Mentions(forgotten.video_ids)
    asked = [(store.everywhere, forgotten.video_ids)]
    for _, known in run_through_losses(engine, find_known, asked, _first):
        if isinstance(known, Done):
            mentions = known.result
    found: dict[str, list[Fault]] = {}
    # Some that could not be looked at together are looked at one by one.
    tasks = [Objects(store.everywhere, some, mentions) for some in _gathered(names)]
    while tasks:
        again: list[Objects] = []
        for task, outcome in run_through_losses(engine, look, tasks, _first):
            if isinstance(outcome, Done):
                found |= outcome.result
            elif len(task.names) > 1:
                again += [Objects(task.store, (name,), mentions) for name in task.names]
            else:
                found[task.names[0]] = [fault_of(task.names[0], outcome)]
            progress.step("verify", len(found), len(names), task.names[-1])
        tasks = again
    faults = (*forgotten.faults, *(fault for name in names for fault in found[name]))
    return Remains(len(forgotten.video_ids), len(names), faults)


def find_known(told: tuple[str, frozenset[str]]) -> Mentions:
    """What finds these videos in a dataset, whose tables may be damaged."""
    store, video_ids = told
    with at_most_more(16 * _GIB):
        return mentions_of(Store(store), video_ids)


def look(task: Objects) -> dict[str, list[Fault]]:
    """What is left in each object; nothing that is damaged raises."""
    store = Store(task.store)
    packets = _packets(task.store, tuple(store.list("tombstones")))
    with at_most_more(4 * _GIB):
        return {name: check_object(store, name, task.mentions, packets) for name in task.names}


@lru_cache(maxsize=1)
def _packets(store: str, tombstones: tuple[str, ...]) -> frozenset[str]:  # noqa: ARG001 - with more there are more
    """The digests of key frames, which a process reads once."""
    return read_forgotten(Store(store)).packets


def _gathered(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    small = [name for name in names if is_ours(name) and name.endswith(_SMALL)]
    gathered = set(small)
    yield from ((name,) for name in names if name not in gathered)
    yield from (tuple(small[start : start + _AT_ONCE]) for start in range(0, len(small), _AT_ONCE))


def _first(_: object) -> Part:
    return Part(_DEADLINE_S)
