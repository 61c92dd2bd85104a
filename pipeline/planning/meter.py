"""What units cost: an engine around another, which measures each part of a unit's work where it is done."""

from __future__ import annotations

import inspect
import resource
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from pipeline.engine import Done, Engine, NotYet, Outcome, Part, Side, Work

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Spent:
    """What a part of a unit's work cost.

    Attributes:
        cpu_s: of the process and of all it started and saw end.
        wall_s: less what was waited for a place.
        held_bytes: what the unit held at the end of the part.
    """

    side: Side
    cpu_s: float
    wall_s: float
    held_bytes: int


class Meter:
    """Runs units on another engine, and keeps what each of them cost.

    An attempt that ends without a result, because it died or its time was up, leaves no figures.

    Args:
        engine: does the work.
        held: of a unit, how many bytes it holds on its machine; of a module's top level.

    Attributes:
        spent: every unit that came to a result, with its parts, once an attempt.
    """

    def __init__(self, engine: Engine, held: Callable[[Any], int]) -> None:
        self._engine = engine
        self._held = held
        self.spent: list[tuple[Any, tuple[Spent, ...]]] = []

    def run(
        self,
        function: Work[T, R],
        units: Iterable[T | NotYet],
        first: Callable[[T], Part],
        *,
        alone: bool = False,
    ) -> Iterator[tuple[T, Outcome[R]]]:
        """See `Engine.run`."""
        work: Work[T, tuple[R, tuple[Spent, ...]]] = partial(_metered, function, first, self._held)
        for unit, outcome in self._engine.run(work, units, first, alone=alone):
            if isinstance(outcome, Done):
                result, spent = outcome.result
                self.spent.append((unit, spent))
                yield unit, Done(result)
            else:
                yield unit, outcome


def _metered(
    function: Work[T, R], first: Callable[[T], Part], held: Callable[[T], int], unit: T
) -> Generator[Part, None, tuple[R, tuple[Spent, ...]]]:
    spent = []
    side, cpu_s, wall_s = first(unit).side, _cpu_s(), time.monotonic()
    work: Any = function(unit)
    while True:
        part, work = _next_part(work)
        spent.append(Spent(side, _cpu_s() - cpu_s, time.monotonic() - wall_s, held(unit)))
        if part is None:
            return cast("R", work), tuple(spent)
        yield part
        side, cpu_s, wall_s = part.side, _cpu_s(), time.monotonic()


def _next_part(work: Any) -> tuple[Part | None, Any]:
    """Work on; what comes is the next part, or else the result."""
    if inspect.isgenerator(work):
        try:
            return cast("Part", next(work)), work
        except StopIteration as end:
            return None, end.value
    return None, work


def _cpu_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
