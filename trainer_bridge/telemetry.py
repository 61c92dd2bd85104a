"""Who waits for whom: the seconds of each step that went into waiting, reading, decoding, copying, training.

Reading and decoding may go on in workers beside a step; what the step itself lost is the time it waited.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from typing import NamedTuple, Protocol

_log = logging.getLogger(__name__)

REMEMBERED_STEPS = 200
"""Figures are of so many steps, the last ones."""

FED = 0.05
"""A loop that waits for less than this share of its time is not held up by data."""


class StepTimes(NamedTuple):
    """Where the time of one step went, in seconds.

    Attributes:
        wait_s: the loop waited for its batch.
        copy_s: the batch was brought to its device and into colours.
        step_s: the loop did its own work, from one batch to the next.
        read_s: reading took, summed over windows, whoever did it.
        decode_s: decoding took, likewise.
        windows: how many there were.
        read_bytes: what was read.
    """

    wait_s: float
    copy_s: float
    step_s: float
    read_s: float
    decode_s: float
    windows: int
    read_bytes: int


class ScalarWriter(Protocol):
    """What figures are written with: TensorBoard's `SummaryWriter`, torch's or tensorboardX's."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object:
        """Write one figure of one step."""


class Telemetry:
    """The times of a rank's last steps.

    Args:
        rank: whose they are.
        workers: how many processes read and decode; 0 means that the loop does it itself.
        log_every_s: seconds between two lines in the log, > 0.
        cores: that this process may use; as many as the system says by default.
    """

    def __init__(
        self, rank: int, workers: int, *, log_every_s: float = 60.0, cores: int | None = None
    ) -> None:
        self._cores = cores or len(os.sched_getaffinity(0))
        self._rank = rank
        self._workers = workers
        self._log_every_s = log_every_s
        self._steps: deque[StepTimes] = deque(maxlen=REMEMBERED_STEPS)
        self._logged_s = time.monotonic()

    def add(self, times: StepTimes) -> None:
        """Remember a step's times, and log where the time goes now and then."""
        self._steps.append(times)
        now_s = time.monotonic()
        if now_s - self._logged_s >= self._log_every_s:
            self._logged_s = now_s
            figures = ", ".join(f"{name} {value:.3g}" for name, value in self.summary().items())
            _log.info("rank %d: %s (a step: %s)", self._rank, self.verdict(), figures)

    def summary(self) -> dict[str, float]:
        """The means of the last steps: seconds a step by what they went into, and what came of them.

        Empty before the first step has ended.
        """
        if not self._steps:
            return {}
        count = len(self._steps)
        sums = StepTimes(*map(sum, zip(*self._steps, strict=True)))
        loop_s = sums.wait_s + sums.copy_s + sums.step_s
        means = {
            name: getattr(sums, name) / count for name in ("wait_s", "copy_s", "step_s", "read_s", "decode_s")
        }
        return means | {
            "waited_share": sums.wait_s / loop_s if loop_s else 0.0,
            "windows_per_s": sums.windows / loop_s if loop_s else 0.0,
            "bytes_per_window": sums.read_bytes / sums.windows if sums.windows else 0.0,
        }

    def verdict(self) -> str:
        """One line: what the loop is bound by, and what would help."""
        told = self.summary()
        if not told:
            return "no step has ended yet"
        waited = f"{told['waited_share']:.0%} of the time is waited for data"
        if told["waited_share"] < FED:
            return f"compute-bound: {waited}"
        side_by_side = max(self._workers, 1)
        read_s, decode_s = told["read_s"] / side_by_side, told["decode_s"] / side_by_side
        if told["copy_s"] > max(read_s, decode_s):
            return f"copy-bound: {waited}; choose a smaller batch a device, or look at the link to it"
        more = self._more_workers(told["read_s"] + told["decode_s"], told["step_s"] + told["copy_s"])
        if read_s > decode_s:
            return f"read-bound: {waited}; use a cache{more and f', or {more}'}"
        return (
            f"decode-bound: {waited}; {more or f'all {self._cores} cores decode already: use more of them'}"
        )

    def _more_workers(self, work_s: float, beside_s: float) -> str:
        """How many workers would make a batch while a step runs; nothing if there is no core for one."""
        wanted = math.ceil(work_s / beside_s) if beside_s * self._cores > work_s else self._cores
        more = min(max(wanted - self._workers, 1), self._cores - self._workers)
        return f"add {more} worker{'s' if more > 1 else ''}" if more > 0 else ""

    def write(self, writer: ScalarWriter, step: int) -> None:
        """Write the summary to TensorBoard, as `stream/rank<r>/<figure>`."""
        for name, value in self.summary().items():
            writer.add_scalar(f"stream/rank{self._rank}/{name}", value, step)
