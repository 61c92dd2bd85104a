"""One child process, doing one call after the other; and the engine that is just that.

A unit may crash its process, exhaust it, or never come back. When the child dies or a deadline
passes, the child's whole process group is killed, the unit gets its verdict, and a new child goes on
with the next.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar, cast

from pipeline.engine import Died, Expired, NotYet, Outcome, Part, Raised, Refused, Work
from shards.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

Stay = AbstractContextManager[Callable[[Part], None]]
"""Gives what waits for a place for a part of a unit's work, and gives up the one held before."""

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


class Child:
    """A process that does one call after the other, and is replaced when it dies. A context manager."""

    def __init__(self) -> None:
        self._process: _Process | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def call(self, function: Work[T, R], unit: T, first: Part, stay: Stay | None = None) -> Outcome[R]:
        """Do one unit; whatever it does to its process, there is an answer.

        Args:
            first: the unit's work up to the first `yield`, or all of it.
            stay: where places are to be had; no clock runs while one is waited for.
        """
        with stay or contextlib.nullcontext(lambda _: None) as enter:
            enter(first)
            self._process = self._process or _Process()
            outcome: Outcome[R] | Part = self._process.begin(function, unit, first.deadline_s)
            while isinstance(outcome, Part):
                enter(outcome)
                outcome = self._process.go_on(outcome.deadline_s)
        if isinstance(outcome, Died | Expired) or self._process.calls >= _MAX_CALLS:
            self.kill()
        return outcome

    def kill(self) -> None:
        """End the process and everything it started."""
        if self._process:
            self._process.kill()
            self._process = None


class _Process:
    """A process of `pipeline.engine.serve` that does one call after the other."""

    def __init__(self) -> None:
        # Without a name: nothing is left of it, whoever is killed.
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed with the process
        ours, theirs = socket.socketpair()
        self._pipe = Connection(ours.detach())
        self.calls = 0
        # It ends when the last of what holds the other end of this has ended: this process alone.
        lifeline, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.engine.serve", str(theirs.fileno()), str(lifeline)],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno(), lifeline],
                # A group of its own: a kill reaches ffmpeg and yt-dlp, and Ctrl-C reaches only this process.
                process_group=0,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(lifeline)
            theirs.close()

    def begin(self, function: Work[T, R], unit: T, deadline_s: float) -> Outcome[R] | Part:
        self.calls += 1
        self._said_before = os.fstat(self._log.fileno()).st_size
        self._oom_kills_before = _oom_kills()
        try:
            call = pickle.dumps((function, unit))
        except Exception as error:
            return raised(error)
        return cast("Outcome[R] | Part", self._exchange(call, deadline_s))

    def go_on(self, deadline_s: float) -> Any:
        """Do the next part of a unit."""
        return self._exchange(b"", deadline_s)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close()

    def _close(self) -> None:
        self._pipe.close()
        os.close(self._lifeline)
        self._log.close()

    def _exchange(self, message: bytes, deadline_s: float) -> Any:
        ends_s = time.monotonic() + deadline_s
        try:
            self._pipe.send_bytes(message)
            while not self._pipe.poll(min(_LOOK_EVERY_S, max(0.0, ends_s - time.monotonic()))):
                # What the function forked may hold the pipe open beyond the death of the process.
                if self._process.poll() is not None and not self._pipe.poll():
                    raise EOFError
                if time.monotonic() >= ends_s:
                    return Expired(deadline_s)
            answer = self._pipe.recv_bytes()
        except (OSError, EOFError):
            return Died(
                self._exit_code(), self._tail(self._said_before), _oom_kills() > self._oom_kills_before
            )
        try:
            return pickle.loads(answer)  # noqa: S301 - from a process of our own
        except Exception as error:
            return raised(error)

    def _exit_code(self) -> int | None:
        """Of a process that closed its pipe; None if it stays nevertheless."""
        try:
            return self._process.wait(_LAST_BREATH_S)
        except subprocess.TimeoutExpired:
            return None

    def _tail(self, start: int) -> str:
        # Not by seeking: the place in the file is the child's too.
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), _LOG_TAIL_BYTES, max(start, size - _LOG_TAIL_BYTES))
        return tail.decode(errors="replace").strip()


def _oom_kills() -> int:
    """How many processes the kernel has killed for want of memory, in whatever group (proc_vmstat(5))."""
    lines = Path("/proc/vmstat").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def raised(error: Exception) -> Raised | Refused:
    """The outcome of a function that raised."""
    if isinstance(error, UserError):
        return Refused(str(error))
    return Raised(f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))
