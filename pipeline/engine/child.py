"""One child process, doing one call after the other; and the engine that is just that.

A unit may crash its process, exhaust it, or never come back. When the child dies or a deadline
passes, the child's whole process group is killed, the unit gets its verdict, and a new child goes on
with the next.
"""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing as mp
import os
import pickle
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar, cast

from pipeline.engine import Died, Done, Expired, NotYet, Outcome, Part, Raised, Refused, Work
from shards.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

_LOG_TAIL_BYTES = 2000
_LOOK_EVERY_S = 1.0

# From the end of its pipe to the end of a process; one that closed the pipe and stays is killed.
_LAST_BREATH_S = 10.0

# A child is replaced after so many calls, and whatever its libraries have leaked goes with it.
_MAX_CALLS = 256


class OneChild:
    """Runs one unit at a time in one child process of this machine."""

    def run(
        self,
        function: Work[T, R],
        units: Iterable[T | NotYet],
        first: Callable[[T], Part],
        *,
        alone: bool = False,  # noqa: ARG002 - it always is
    ) -> Iterator[tuple[T, Outcome[R]]]:
        """See `Engine.run`; the order is that of the units."""
        with Child() as child:
            for unit in units:
                if isinstance(unit, NotYet):
                    time.sleep(unit.wait_s)
                else:
                    yield unit, child.call(function, unit, first(unit))

    def shared(self, name: str, make: Callable[[], object]) -> object:  # noqa: ARG002 - nobody to share with
        """See `Engine.shared`."""
        return make()


class Child:
    """A process that does one call after the other, and is replaced when it dies. A context manager."""

    def __init__(self) -> None:
        self._process: _Process | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def call(
        self,
        function: Work[T, R],
        unit: T,
        first: Part,
        place: Callable[[Part], AbstractContextManager[object]] = lambda _: nullcontext(),
    ) -> Outcome[R]:
        """Do one unit; whatever it does to its process, there is an answer.

        Args:
            first: the unit's work up to the first `yield`, or all of it.
            place: waits for a place for a part, and holds it while the part goes on. No clock runs
                meanwhile.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(place(first))
            process = self._process = self._process or _Process()
            outcome: Outcome[R] | Part = process.begin(function, unit, first.deadline_s)
            while isinstance(outcome, Part):
                stack.close()  # one place is given up before the next is waited for
                stack.enter_context(place(outcome))
                outcome = process.go_on(outcome.deadline_s)
        if isinstance(outcome, Died | Expired) or process.calls >= _MAX_CALLS:
            self.kill()
        return outcome

    def kill(self) -> None:
        """End the process and everything it started."""
        if self._process:
            self._process.kill()
            self._process = None


class _Process:
    """A spawned process that does one call after the other."""

    def __init__(self) -> None:
        # spawn: a fork would copy this process's threads' locks, and its memory.
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        descriptor, name = tempfile.mkstemp(prefix="genieset-", suffix=".log")
        os.close(descriptor)
        self._log = Path(name)
        self.calls = 0
        self._process = context.Process(target=_serve, args=(theirs, name), daemon=True)
        try:
            with _interrupts_held():
                self._process.start()
            theirs.close()
        except BaseException:
            self.kill()
            raise

    def begin(self, function: Work[T, R], unit: T, deadline_s: float) -> Outcome[R] | Part:
        self.calls += 1
        self._said_before = self._log.stat().st_size
        try:
            call = pickle.dumps((function, unit))
        except Exception as error:
            return _raised(error)
        return cast("Outcome[R] | Part", self._exchange(call, deadline_s))

    def go_on(self, deadline_s: float) -> Any:
        """Do the next part of a unit."""
        return self._exchange(b"", deadline_s)

    def _exchange(self, message: bytes, deadline_s: float) -> Any:
        ends_s = time.monotonic() + deadline_s
        try:
            self._pipe.send_bytes(message)
            while not self._pipe.poll(min(_LOOK_EVERY_S, max(0.0, ends_s - time.monotonic()))):
                # What the function forked may hold the pipe open beyond the death of the process.
                if not self._process.is_alive() and not self._pipe.poll():
                    raise EOFError
                if time.monotonic() >= ends_s:
                    return Expired(deadline_s)
            answer = self._pipe.recv_bytes()
        except (OSError, EOFError):
            return Died(self._exit_code(), self._tail(self._said_before))
        try:
            return pickle.loads(answer)  # noqa: S301 - from a process of our own
        except Exception as error:
            return _raised(error)

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
        pipe.send_bytes(_answer(call, pipe))


def _answer(call: bytes, pipe: Connection) -> bytes:
    try:
        function, unit = pickle.loads(call)  # noqa: S301 - from the process that started this one
        result = function(unit)
        if inspect.isgenerator(result):
            result = _in_parts(result, pipe)
        return pickle.dumps(Done(result))
    except Exception as error:
        return pickle.dumps(_raised(error))


def _in_parts(work: Generator[Any, None, R], pipe: Connection) -> R:
    """Do a unit part by part, each when the parent says so."""
    try:
        while True:
            part = next(work)
            pipe.send_bytes(pickle.dumps(part))
            pipe.recv_bytes()
    except StopIteration as end:
        return cast("R", end.value)


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
