"""The metrics of a run: a file of JSON lines, one a step, each step exactly once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Metrics = dict[str, Any]
"""A step's line: `step`, `loss` and its parts, `learning_rate`, `windows` (the batch's digest), and
seconds: `read_s` and `decode_s` summed over the windows, whoever read them; `wait_s` that the loop
waited for the batch; `step_s` that the model and the optimiser took."""


class MetricsLog:
    """Appends to `metrics.jsonl`, after cutting off what a checkpoint knows nothing of.

    Args:
        run: the run's folder.
        step: the step that comes next; lines of this step and later ones are cut off.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.path = run / "metrics.jsonl"
        kept = 0
        if self.path.exists():
            with self.path.open("rb") as file:
                kept = sum(len(line) for line, _ in zip(file, range(step), strict=False))
        self._file = self.path.open("ab")
        self._file.truncate(kept)

    def append(self, metrics: Metrics) -> None:
        """Write a line; it outlives the process, and after `sync` the machine."""
        self._file.write(json.dumps(metrics).encode() + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """Wait until all lines are on the disk: before a checkpoint, that none of its steps is missing."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(run: Path) -> list[Metrics]:
    """All lines of a run, in the order of steps."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
