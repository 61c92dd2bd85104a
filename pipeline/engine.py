"""The engine: runs a stage's function on units, away from this process, and always answers.

A unit may crash its process, exhaust it, or never come back. `OneChild` runs units one after the
other in one child process; when the child dies or a deadline passes, the child's whole process
group is killed, the unit gets its verdict, and a new child goes on with the next.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_LOG_TAIL_BYTES = 2000


@dataclass(frozen=True)
class Done(Generic[R]):
    """The function returned."""

    result: R


@dataclass(frozen=True)
class Raised:
    """The function raised: a bug."""

    error: str
    trace: str


@dataclass(frozen=True)
class Died:
    """The process died under the function."""

    exit_code: int | None
    log: str


@dataclass(frozen=True)
class Expired:
    """The deadline passed; the process was killed."""

    deadline_s: float


Outcome = Done[R] | Raised | Died | Expired


class Engine(Protocol):
    """Runs functions on units. A stage is handed one and knows no more of it than this."""

    def run(
        self, function: Callable[[T], R], units: Iterable[T], deadline_s: Callable[[T], float]
    ) -> Iterator[tuple[T, Outcome[R]]]:
        """Each unit with its outcome, in the order they end.

        Args:
            function: of a module's top level; it, the units and the results are pickled.
            deadline_s: seconds a unit may take.
        """


class OneChild:
    """Runs one unit at a time in one child process of this machine."""

    def run(
        self, function: Callable[[T], R], units: Iterable[T], deadline_s: Callable[[T], float]
    ) -> Iterator[tuple[T, Outcome[R]]]:
        """See `Engine.run`; the order is that of the units."""
        child: _Child | None = None
        try:
            for unit in units:
                child = child or _Child()
                outcome = child.call(function, unit, deadline_s(unit))
                if isinstance(outcome, Died | Expired):
                    child.kill()
                    child = None
                yield unit, outcome
        finally:
            if child:
                child.kill()


class _Child:
    """A spawned process that does one call after the other."""

    def __init__(self) -> None:
        # spawn: a fork would copy this process's threads' locks, and its memory.
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        descriptor, name = tempfile.mkstemp(prefix="genieset-", suffix=".log")
        os.close(descriptor)
        self._log = Path(name)
        self._process = context.Process(target=_serve, args=(theirs, name), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, function: Callable[[T], R], unit: T, deadline_s: float) -> Outcome[R]:
        try:
            self._pipe.send((function, unit))
            if not self._pipe.poll(deadline_s):
                return Expired(deadline_s)
            outcome: Outcome[R] = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            return Died(self._process.exitcode, self._tail())
        return outcome

    def kill(self) -> None:
        """End the child and everything it started."""
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()  # before its group exists, the child is still alone
        self._process.join()
        self._pipe.close()
        self._log.unlink(missing_ok=True)

    def _tail(self) -> str:
        return self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()


def _serve(pipe: Connection, log: str) -> None:
    # A group of its own: a kill reaches ffmpeg and yt-dlp, and Ctrl-C reaches only the parent.
    os.setpgid(0, 0)
    with Path(log).open("ab") as file:
        os.dup2(file.fileno(), 2)
    threading.Thread(target=_follow_parent_into_death, daemon=True).start()
    while True:
        try:
            function, unit = pipe.recv()
        except EOFError:
            return
        pipe.send(_call(function, unit))


def _call(function: Callable[[Any], Any], unit: Any) -> Done[Any] | Raised:
    try:
        return Done(function(unit))
    except Exception as error:
        return Raised(f"{type(error).__name__}: {error}", traceback.format_exc())


def _follow_parent_into_death() -> None:
    parent = mp.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)
