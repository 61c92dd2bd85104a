"""The engine: runs a stage's function on units, away from this process, and always answers.

A unit may crash its process, exhaust it, or never come back. `OneChild` runs units one after the
other in one child process; when the child dies or a deadline passes, the child's whole process
group is killed, the unit gets its verdict, and a new child goes on with the next.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import pickle
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from shards.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

_LOG_TAIL_BYTES = 2000
_LOOK_EVERY_S = 1.0

# From the end of its pipe to the end of a process; one that closed the pipe and stays is killed.
_LAST_BREATH_S = 10.0


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
    """The process died under the function."""

    exit_code: int | None
    log: str


@dataclass(frozen=True)
class Expired:
    """The deadline passed; the process was killed."""

    deadline_s: float


Outcome = Done[R] | Refused | Raised | Died | Expired


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
        try:
            with _interrupts_held():
                self._process.start()
            theirs.close()
        except BaseException:
            self.kill()
            raise

    def call(self, function: Callable[[T], R], unit: T, deadline_s: float) -> Outcome[R]:
        said_before = self._log.stat().st_size
        ends_s = time.monotonic() + deadline_s
        try:
            self._pipe.send_bytes(pickle.dumps((function, unit)))
            while not self._pipe.poll(min(_LOOK_EVERY_S, max(0.0, ends_s - time.monotonic()))):
                # What the function forked may hold the pipe open beyond the death of the process.
                if not self._process.is_alive() and not self._pipe.poll():
                    raise EOFError
                if time.monotonic() >= ends_s:
                    return Expired(deadline_s)
            answer = self._pipe.recv_bytes()
        except (OSError, EOFError):
            return Died(self._exit_code(), self._tail(said_before))
        except Exception as error:
            return _raised(error)
        try:
            outcome: Outcome[R] = pickle.loads(answer)  # noqa: S301 - from a process of our own
        except Exception as error:
            return _raised(error)
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

    def _exit_code(self) -> int | None:
        """Of a process that closed its pipe; None if it stays nevertheless."""
        ends_s = time.monotonic() + _LAST_BREATH_S
        # `join` would wait for ever: to it, what is closed has ended.
        while self._process.is_alive() and time.monotonic() < ends_s:
            time.sleep(0.001)
        return self._process.exitcode

    def _tail(self, start: int) -> str:
        with self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start, end - _LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the end of this, and processes started meanwhile do not hear it."""
    resource_tracker.ensure_running()  # it would let interrupts through when it is started later
    came: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    # The mask is for the new process; here another thread may be the one that is interrupted.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if in_main else None
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if came:
            signal.raise_signal(signal.SIGINT)


def _serve(pipe: Connection, log: str) -> None:
    # A group of its own: a kill reaches ffmpeg and yt-dlp, and Ctrl-C reaches only the parent.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # forgets one that came before
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with Path(log).open("ab") as file:
        # Standard output is the command's own.
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    threading.Thread(target=_follow_parent_into_death, args=(log,), daemon=True).start()
    while True:
        try:
            call = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(_answer(call))


def _answer(call: bytes) -> bytes:
    try:
        function, unit = pickle.loads(call)  # noqa: S301 - from the process that started this one
        return pickle.dumps(Done(function(unit)))
    except Exception as error:
        return pickle.dumps(_raised(error))


def _raised(error: Exception) -> Raised | Refused:
    if isinstance(error, UserError):
        return Refused(str(error))
    return Raised(f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))


def _follow_parent_into_death(log: str) -> None:
    parent = mp.parent_process()
    assert parent is not None
    parent.join()
    Path(log).unlink(missing_ok=True)
    os.killpg(0, signal.SIGKILL)
