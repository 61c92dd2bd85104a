"""Contenders that take turns, and what each cost."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Mapping
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
