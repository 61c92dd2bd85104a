"""Contenders that take turns, and what each cost."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


def take_turns(
    contenders: Mapping[str, Callable[[], int]], rounds: int, on_turn: Callable[[int, int, str], None]
) -> dict[str, list[Cost] | Missing]:
    """Each contender's cost in every round; one that cannot run is asked once."""
    costs: dict[str, list[Cost] | Missing] = {}
    turn, turns = 0, rounds * len(contenders)
    for _ in range(rounds):
        for name, work in contenders.items():
            turn += 1
            so_far = costs.setdefault(name, [])
            if isinstance(so_far, list):
                try:
                    so_far.append(_cost(work))
                except CannotRun as missing:
                    costs[name] = Missing(str(missing))
            on_turn(turn, turns, name)
    return costs


def median_ratio(costs: list[Cost], to: list[Cost]) -> float:
    """How many times the CPU seconds of `to` were needed: the median over the rounds."""
    return median(ours.cpu_s / theirs.cpu_s for ours, theirs in zip(costs, to, strict=True))


def median_cpu_s(costs: list[Cost]) -> float:
    """CPU seconds a turn."""
    return median(cost.cpu_s for cost in costs)


def _cost(work: Callable[[], int]) -> Cost:
    cpu_s, wall_s = _cpu_s(), time.monotonic()
    made = work()
    return Cost(_cpu_s() - cpu_s, time.monotonic() - wall_s, made)


def _cpu_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
