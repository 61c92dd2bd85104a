"""Contenders that take turns, and what each cost.

All run on one core. Over two, a pipeline of processes pays for waking each other up and for caches
that are cold, with CPU seconds that depend on what else the machine does; where all cores are busy,
as in a real build, it does not.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Cost:
    """What one turn took.

    Attributes:
        cpu_s: of this process and of the children it has waited for.
        made: how many clips came of it.
    """

    cpu_s: float
    wall_s: float
    made: int


@dataclass(frozen=True)
class Missing:
    """A contender that could not take part, and why."""

    why: str


class CannotRun(Exception):  # noqa: N818 - it is an outcome, not an error
    """A contender cannot be had here."""


Work = Callable[[Path], object]
"""What is measured: it is given an empty folder, and what it makes lies there afterwards."""


def take_turns(
    contenders: Mapping[str, Callable[[], Work]],
    rounds: int,
    count: Callable[[Path], int],
    on_turn: Callable[[int, int, str], None],
) -> dict[str, list[Cost] | Missing]:
    """Each contender's cost in every round; one that cannot run is left out.

    Args:
        contenders: name -> prepares the work; what that costs is not counted.
        count: how many clips lie in a folder; nor is what this costs.
        on_turn: is told of turns done, of all turns, and whose turn it was.
    """
    costs: dict[str, list[Cost] | Missing] = {}
    works: dict[str, Work] = {}
    for name, prepare in contenders.items():
        try:
            works[name] = prepare()
            costs[name] = []
        except CannotRun as missing:
            costs[name] = Missing(str(missing))
    with _one_core():
        for turn in range(rounds):
            for number, (name, work) in enumerate(works.items(), 1):
                so_far = costs[name]
                if isinstance(so_far, list):
                    try:
                        so_far.append(_cost(work, count))
                    except CannotRun as missing:
                        costs[name] = Missing(str(missing))
                on_turn(turn * len(works) + number, rounds * len(works), name)
    return costs


def median_ratio(costs: list[Cost], to: list[Cost]) -> float:
    """How many times the CPU seconds of `to` were needed: the median over the rounds."""
    return median(ours.cpu_s / theirs.cpu_s for ours, theirs in zip(costs, to, strict=True))


def median_cpu_s(costs: list[Cost]) -> float:
    """CPU seconds a turn."""
    return median(cost.cpu_s for cost in costs)


@contextmanager
def _one_core() -> Iterator[None]:
    """Meanwhile this thread and the processes that it starts stay on the last core they may use."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _cost(work: Work, count: Callable[[Path], int]) -> Cost:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cpu_s, wall_s = _cpu_s(), time.monotonic()
        work(folder)
        cpu_s, wall_s = _cpu_s() - cpu_s, time.monotonic() - wall_s
        return Cost(cpu_s, wall_s, count(folder))


def _cpu_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
