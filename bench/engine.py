"""What the engine itself costs: units that do nothing, and the scaling of units that do.

* **driver CPU a unit**: CPU seconds of the driving process for each of many units that return at once.
  Target: 2 ms. The attempt log is not in it; `genieset bench ledger` has its cost.
* **scaling**: CPU seconds a clip of the same videos with one job and with two. Target: 1.1 times.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pipeline.build import discover, ingest
from pipeline.config import BuildConfig
from pipeline.engine import Part
from pipeline.engine.choose import open_engine

TARGET_DRIVER_MS = 2.0
TARGET_SCALING = 1.1


@dataclass(frozen=True)
class EngineCost:
    """What `genieset bench engine` measured.

    Attributes:
        driver_ms: CPU milliseconds of the driver a unit that does nothing.
        wall_ms: wall-clock milliseconds a unit, with two at once.
        one_job_s, two_jobs_s: CPU seconds a clip, of all processes together; medians.
        speedup: wall-clock seconds with one job over those with two; medians.
    """

    units: int
    driver_ms: float
    wall_ms: float
    rounds: int
    clips: int
    one_job_s: float
    two_jobs_s: float
    speedup: float

    @property
    def scaling(self) -> float:
        """CPU seconds a clip with two jobs over those with one."""
        return self.two_jobs_s / self.one_job_s


def nothing(unit: int) -> int:
    """The work of a unit that has none."""
    return unit


def measure(videos: Path, units: int, rounds: int, say: Callable[[str], None]) -> EngineCost:
    """Measure on this machine.

    Args:
        videos: a folder or file to be cut.
    """
    say(f"{units} units that do nothing, two at once")
    driver_ms, wall_ms = _no_op(units)
    cpu_s: dict[int, list[float]] = {1: [], 2: []}
    wall_s: dict[int, list[float]] = {1: [], 2: []}
    clips = 0
    for number in range(rounds):
        for jobs in (1, 2):
            say(f"round {number + 1} of {rounds}: {videos} with {jobs} jobs")
            cpu, wall, clips = _cut(videos, jobs)
            cpu_s[jobs].append(cpu / clips)
            wall_s[jobs].append(wall)
    return EngineCost(
        units,
        driver_ms,
        wall_ms,
        rounds,
        clips,
        median(cpu_s[1]),
        median(cpu_s[2]),
        median(wall_s[1]) / median(wall_s[2]),
    )


def _no_op(units: int) -> tuple[float, float]:
    with open_engine(jobs=2) as engine:
        # The first units wait for processes to start.
        assert len(list(engine.run(nothing, range(20), lambda _: Part(60.0)))) == 20
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        ended = sum(1 for _ in engine.run(nothing, range(units), lambda _: Part(60.0)))
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    assert ended == units
    return cpu_s / units * 1e3, wall_s / units * 1e3


def _cut(videos: Path, jobs: int) -> tuple[float, float, int]:
    """CPU seconds and wall-clock seconds of an ingest without the start of its engine, and clips."""
    dataset = tempfile.mkdtemp(prefix="genieset-bench-")
    config = BuildConfig.model_validate(
        {"dataset": dataset, "sources": [{"kind": "files", "path": str(videos)}]}
    )
    try:
        discover(config, _Silent())
        with open_engine(jobs) as engine:
            # Starts the processes; what they cost at the start is no cost of a clip.
            list(engine.run(nothing, range(4 * jobs), lambda _: Part(60.0)))
            cpu_s, wall_s = _cpu_of_descendants_s(), time.perf_counter()
            books = ingest(config, engine, _Silent())
            cpu_s, wall_s = _cpu_of_descendants_s() - cpu_s, time.perf_counter() - wall_s
    finally:
        shutil.rmtree(dataset)
    return cpu_s, wall_s, sum(entry.clips for entry in books.ingested())


def _cpu_of_descendants_s() -> float:
    """CPU seconds of this process and of all that it started, those that have ended included."""
    parents, spent = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
            # utime, stime, and those of children that were waited for (proc(5)).
            spent[int(folder.name)] = sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(spent[pid] for pid in ours) / os.sysconf("SC_CLK_TCK")


class _Silent:
    def step(self, stage: str, done: int, total: int, what: str) -> None:
        pass

    def note(self, message: str) -> None:
        pass
