"""The outside of a contender that stays open: a process of its own that is told when its turn is."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.rounds import CannotRun
from bench.sources import ROOT

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_ENDING_S = 30.0


@dataclass(frozen=True)
class Turn:
    """What one turn of a contender took; see `bench.turns`.

    Attributes:
        cpu_s: of the process and its children.
        read_bytes: by system calls, of the same.
        batch_s: for each batch, how long it was waited for.
    """

    windows: int
    wall_s: float
    cpu_s: float
    read_bytes: int
    batch_s: tuple[float, ...]

    @property
    def windows_per_cpu_s(self) -> float:
        """Speed by the work done, whoever else used the machine."""
        return self.windows / self.cpu_s


@dataclass(frozen=True)
class Contender:
    """What takes turns: a program that calls `bench.turns.serve`.

    Attributes:
        variables: of its environment, beside ours.
        cores: how many it may use; None for all.
    """

    name: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    cores: int | None = 1


class Driven:
    """A running contender that is warm.

    Raises:
        CannotRun: it ended before it was.
    """

    def __init__(self, contender: Contender) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process
        inherited = os.sched_getaffinity(0)
        chosen = set(sorted(inherited)[-contender.cores :]) if contender.cores else inherited
        variables = _ONE_THREAD | {"PYTHONPATH": str(ROOT)} | dict(contender.variables)
        os.sched_setaffinity(0, chosen)
        try:
            self._process = subprocess.Popen(
                contender.command,
                cwd=ROOT,
                env=os.environ | variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
            )
        finally:
            os.sched_setaffinity(0, inherited)
        try:
            self._answer()
        except CannotRun:
            self.close()
            raise

    def turn(self, batches: int) -> Turn:
        """Let it make so many batches.

        Raises:
            CannotRun: it ended.
        """
        stdin = self._process.stdin
        assert stdin
        try:
            print(batches, file=stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None
        told = self._answer()
        return Turn(**told | {"batch_s": tuple(told["batch_s"])})

    def close(self) -> None:
        """End it, and with it whatever it has started."""
        try:
            self._process.communicate(timeout=_ENDING_S)  # the end of its input is what ends it
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout
        line = stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> CannotRun:
        self._process.wait()
        self._log.seek(0)
        said = self._log.read().strip().splitlines() or ["it said nothing"]
        return CannotRun(said[-1])


def turns_of(
    contenders: Sequence[Contender], rounds: int, batches: int, on_turn: Callable[[int, int, str], None]
) -> dict[str, list[Turn] | str]:
    """Each contender's turns, A B C A B C; of one that cannot run, why.

    All stay open from the first round to the last, so that what is measured is a training run's hundredth
    batch, not its first.
    """
    found: dict[str, list[Turn] | str] = {}
    driven: dict[str, Driven] = {}
    steps = (rounds + 1) * len(contenders)
    try:
        for number, contender in enumerate(contenders, 1):
            on_turn(number, steps, f"{contender.name}: warming up")
            try:
                driven[contender.name] = Driven(contender)
                found[contender.name] = []
            except CannotRun as why:
                found[contender.name] = str(why)
        for turn in range(1, rounds + 1):
            for number, contender in enumerate(contenders, 1):
                so_far = found[contender.name]
                if isinstance(so_far, list):
                    try:
                        so_far.append(driven[contender.name].turn(batches))
                    except CannotRun as why:
                        found[contender.name] = str(why)
                on_turn(turn * len(contenders) + number, steps, contender.name)
    finally:
        for process in driven.values():
            process.close()
    return found
