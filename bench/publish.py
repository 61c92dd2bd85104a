"""Curate and publish of many clips: seconds and memory, of a first version and of one with a little more.

A synthetic dataset (`bench.synthetic`), whose making is not counted. Each step runs in a process of its
own, as the commands do; the children that write shards are counted apart.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.synthetic import CLIPS_A_PACK, config_of, write_packs
from pipeline.build import curate, publish
from pipeline.config import BuildConfig
from pipeline.engine.choose import open_engine
from shards.manifest import list_versions, read_version
from shards.store import Store

_SPLITS = {"train": 0.98, "val": 0.02}
_SHARDS = 100  # so many or a few more, however many clips there are
_CLIP_BYTES = 3584  # what a synthetic clip takes up in a tar
_AT_ONCE = 10_000
_MORE = 0.01


@dataclass(frozen=True)
class Step:
    """What one step took.

    Attributes:
        peak_bytes: resident memory of its process at most, libraries and all.
        child_peak_bytes: the same of its largest child; 0 if it had none.
    """

    seconds: float
    cpu_s: float
    peak_bytes: int
    child_peak_bytes: int = 0


@dataclass(frozen=True)
class Published:
    """What publishing came to.

    Attributes:
        kept_shards: those that the version before has too.
    """

    step: Step
    clips: int
    shards: int
    kept_shards: int


@dataclass(frozen=True)
class PublishCost:
    """What `genieset bench publish` measured."""

    clips: int
    curate: Step
    first: Published
    more_clips: int
    curate_again: Step
    second: Published


def measure(clips: int, jobs: int, say: Callable[[str], None]) -> PublishCost:
    """Measure on this machine; takes about 8 GB of disk for a million clips.

    Args:
        jobs: how many shards are written at once.
    """
    with tempfile.TemporaryDirectory(prefix="genieset-bench-") as folder:
        dataset = f"{folder}/set"
        config = config_of(dataset, _SPLITS, max(clips * _CLIP_BYTES // _SHARDS, 100_000))
        packs = -(-clips // CLIPS_A_PACK)
        more = max(round(packs * _MORE), 1)
        say(f"writing {packs * CLIPS_A_PACK:,} clips in {packs:,} packs")
        _write(config, range(packs))
        say("curate")
        first_curate = Step(**_in_a_process("curate", config, jobs))
        say("publish")
        first = _published(_in_a_process("publish", config, jobs))
        _write(config, range(packs, packs + more))
        say(f"the same with {more * CLIPS_A_PACK:,} clips more")
        return PublishCost(
            clips=packs * CLIPS_A_PACK,
            curate=first_curate,
            first=first,
            more_clips=more * CLIPS_A_PACK,
            curate_again=Step(**_in_a_process("curate", config, jobs)),
            second=_published(_in_a_process("publish", config, jobs)),
        )


def _published(told: dict[str, Any]) -> Published:
    return Published(**told | {"step": Step(**told["step"])})


def _write(config: BuildConfig, numbers: range) -> None:
    for first in range(numbers.start, numbers.stop, _AT_ONCE):
        write_packs(config, range(first, min(numbers.stop, first + _AT_ONCE)))


def _in_a_process(what: str, config: BuildConfig, jobs: int) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "bench.publish", what, config.model_dump_json(), str(jobs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


class _Silent:
    """Progress that nobody looks at."""

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        pass

    def note(self, message: str) -> None:
        pass


def _step(began: tuple[float, float]) -> Step:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Step(
        seconds=time.perf_counter() - began[0],
        cpu_s=time.process_time() + children.ru_utime + children.ru_stime - began[1],
        peak_bytes=_peak_bytes(),
        child_peak_bytes=children.ru_maxrss * 1024,
    )


def _curate(config: BuildConfig) -> dict[str, Any]:
    began = time.perf_counter(), time.process_time()
    curate(config)
    return asdict(_step(began))


def _publish(config: BuildConfig, jobs: int) -> dict[str, Any]:
    store = Store(config.dataset)
    before = read_version(store).shards if list_versions(store) else ()
    selection = curate(config)
    began = time.perf_counter(), time.process_time()
    with open_engine(jobs) as engine:
        version = publish(config, selection, engine, _Silent())
    kept = {entry.name for entry in before} & {entry.name for entry in version.shards}
    step = _step(began)
    return asdict(Published(step, sum(version.splits.values()), len(version.shards), len(kept)))


def main() -> None:
    """Do one step and say what it took: the process of its own."""
    what, settings, jobs = sys.argv[1:]
    config = BuildConfig.model_validate_json(settings)
    print(json.dumps(_curate(config) if what == "curate" else _publish(config, int(jobs))))


def _peak_bytes() -> int:
    # Not of `getrusage`, which also counts what the process was before it became this program.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
