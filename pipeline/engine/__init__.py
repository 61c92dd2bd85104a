"""The engine: runs a stage's function on units, away from this process, and always answers.

A stage is handed an engine and knows no more of it than the protocol here. `OneChild` runs units one
after the other in one child process; `on_ray.RayEngine` runs as many at once as there is room for, on
this machine or on a cluster. Both run the same function in the same kind of child process, so the
same bytes come out.

A unit's work may have parts that need different things. A function that is a generator yields a
`Part` where the next one begins: the engine lets it go on when there is a place on that side, and
only then does the part's clock start.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")

Side = Literal["network", "cpu", "gpu"]


@dataclass(frozen=True)
class Part:
    """A stretch of a unit's work.

    Attributes:
        deadline_s: what runs longer is killed.
        side: what it keeps busy. Parts on the network side do not take a core from the others.
        scratch_bytes: what it may put on the disk of its node; it begins when there is room.
    """

    deadline_s: float
    side: Side = "cpu"
    scratch_bytes: int = 0


@dataclass(frozen=True)
class NotYet:
    """Among the units: nothing may begin for so long; what is under way goes on."""

    wait_s: float


@dataclass(frozen=True)
class Done(Generic[R]):
    """The function returned."""

    result: R


@dataclass(frozen=True)
class Raised:
    """The function raised, or what it was given or returned cannot be pickled: a bug."""

    error: str
    trace: str


@dataclass(frozen=True)
class Refused:
    """The function met something that the user has to mend (a `UserError`) before anything can go on."""

    message: str


@dataclass(frozen=True)
class Died:
    """The process died under the function, on a node that lives on.

    Attributes:
        exit_code: negative for a signal; None if the process only hung up.
        log: what it said last.
        out_of_memory: whether the kernel killed for want of memory on its node meanwhile.
    """

    exit_code: int | None
    log: str
    out_of_memory: bool = False

    @property
    def from_outside(self) -> bool:
        """Whether somebody else did it: work may crash, abort or exhaust memory, but it does not SIGKILL."""
        return self.exit_code == -signal.SIGKILL and not self.out_of_memory


@dataclass(frozen=True)
class Expired:
    """The deadline of a part passed; the process was killed."""

    deadline_s: float


@dataclass(frozen=True)
class Lost:
    """The node, or what ran the process there, is gone: nothing is said of the unit."""

    cause: str


Outcome = Done[R] | Refused | Raised | Died | Expired | Lost

Work = Callable[[T], R] | Callable[[T], Generator[Part, None, R]]


def all_parts(work: Generator[Part, None, R]) -> R:
    """Do a unit's work here and now, one part after the other."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return cast("R", end.value)


class Engine(Protocol):
    """Runs functions on units."""

    def run(
        self,
        function: Work[T, R],
        units: Iterable[T | NotYet],
        first: Callable[[T], Part],
        *,
        alone: bool = False,
    ) -> Iterator[tuple[T, Outcome[R]]]:
        """Each unit with its outcome, in the order they end.

        Args:
            function: of a module's top level; it, the units and the results are pickled.
            units: taken one by one, no more than can be begun.
            first: a unit's work up to the first `yield`, or all of it.
            alone: nothing else of this engine runs on a unit's node meanwhile.
        """


_MAX_LOSSES = 10


def run_through_losses(
    engine: Engine, function: Work[T, R], units: Iterable[T], first: Callable[[T], Part]
) -> Iterator[tuple[T, Outcome[R]]]:
    """Run units whose work is the tool's own; what happens to one from outside is borne ten times."""
    for tries in range(1, _MAX_LOSSES + 1):
        again: list[T] = []
        for unit, outcome in engine.run(function, units, first):
            from_outside = isinstance(outcome, Lost) or (isinstance(outcome, Died) and outcome.from_outside)
            if from_outside and tries < _MAX_LOSSES:
                again.append(unit)
            else:
                yield unit, outcome
        if not again:
            return
        units = again
