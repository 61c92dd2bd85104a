"""The books of a large dataset: how long, with how much memory and how many calls they are read.

A dataset of synthetic commits, gathered as a real run gathers them, with a tail that is not gathered
yet. Measured in processes of their own: `resume`, what a run does before its first unit, and
`genieset status`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from bench.synthetic import synthetic_video
from pipeline import candidates
from pipeline.build import CONFIG_NAME, books_of
from pipeline.config import BuildConfig
from pipeline.status import read_status
from shards.commits import COMMIT_SCHEMA, Commit, create_commit, pack_name
from shards.journal import SEGMENT_OBJECTS
from shards.records import CANDIDATE_SCHEMA, Video
from shards.store import Store

_CHUNK = 100_000
_CLIPS = 37
_LISTED_AT_ONCE = 1000  # by S3's ListObjectsV2


@dataclass(frozen=True)
class Reading:
    """What it took to read the books once.

    Attributes:
        peak_bytes: resident memory of the process, libraries and all.
        base_bytes: the same before anything was read.
        listings: requests an object store would take for the listings, 1,000 names each.
        reads: objects that were read.
    """

    seconds: float
    cpu_s: float
    base_bytes: int
    peak_bytes: int
    listings: int
    reads: int


@dataclass(frozen=True)
class LedgerCost:
    """What `genieset bench ledger` measured."""

    commits: int
    tail: int
    resume: Reading
    status: Reading


def measure(commits: int, say: Callable[[str], None]) -> LedgerCost:
    """Measure on this machine; takes about 1 GB of disk for a million commits."""
    tail = min(commits, SEGMENT_OBJECTS - 1)
    with tempfile.TemporaryDirectory(prefix="genieset-bench-") as dataset:
        say(f"writing {commits} commits, {tail} of them not gathered yet")
        _write(dataset, commits, tail)
        say("resume and status")
        return LedgerCost(commits, tail, _in_a_process("resume", dataset), _in_a_process("status", dataset))


def _config(dataset: str) -> BuildConfig:
    source = {"kind": "web", "urls": ["https://example.org/"]}
    return BuildConfig.model_validate({"dataset": dataset, "sources": [source], "titles": _TITLES})


_TITLES = {"keywords": ["platformer"], "actions": ["gameplay"], "negations": ["unboxing", "movie"]}


def _write(dataset: str, commits: int, tail: int) -> None:
    store, config = Store(dataset), _config(dataset)
    store.put(CONFIG_NAME, config.model_dump_json().encode())
    settings = config.settings_hash
    tables = []
    for start in range(0, commits, _CHUNK):
        videos = [synthetic_video(number) for number in range(start, min(commits, start + _CHUNK))]
        tables.append(pa.Table.from_pylist([video.as_row() for video in videos], schema=CANDIDATE_SCHEMA))
        gathered = [video for number, video in enumerate(videos, start) if number < commits - tail]
        rows = [_row(video, settings) for video in gathered]
        for place in range(0, len(rows), SEGMENT_OBJECTS):
            segment = pa.Table.from_pylist(rows[place : place + SEGMENT_OBJECTS], schema=COMMIT_SCHEMA)
            store.put_table(f"commits/segments/{start + place:016d}.parquet", segment)
        for video in videos[len(gathered) :]:
            create_commit(store, _commit(video, settings))
    candidates.write_table(store, config.sources[0], pa.concat_tables(tables))


def _commit(video: Video, settings: str) -> Commit:
    return Commit(video, settings, "ingested", None, pack_name(video.video_id, settings, "c0ffee00"), _CLIPS)


def _row(video: Video, settings: str) -> dict[str, object]:
    return vars(_commit(video, settings)) | {"video": video.as_row(), "video_id": video.video_id}


def _in_a_process(what: str, dataset: str) -> Reading:
    command = [sys.executable, "-P", "-m", "bench.ledger", what, dataset]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Reading(**json.loads(done.stdout))


class _Counting(Store):
    """A store that counts what is asked of it."""

    listings = 0
    reads = 0

    def read(self, name: str) -> bytes:
        _Counting.reads += 1
        return super().read(name)

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        _Counting.reads += 1
        return super().read_table(name, columns)

    def list(self, folder: str) -> list[str]:
        names = super().list(folder)
        _Counting.listings += max(1, -(-len(names) // _LISTED_AT_ONCE))
        return names


def _resume(store: Store) -> object:
    return len(books_of(_config(store.url), store).waiting())


def main() -> None:
    """Read the books once and say what it took: the process of its own."""
    what, dataset = sys.argv[1:]
    base_bytes = _peak_bytes()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    {"resume": _resume, "status": read_status}[what](_Counting(dataset))
    reading = Reading(
        seconds=time.perf_counter() - began_s,
        cpu_s=time.process_time() - cpu_s,
        base_bytes=base_bytes,
        peak_bytes=_peak_bytes(),
        listings=_Counting.listings,
        reads=_Counting.reads,
    )
    print(json.dumps(asdict(reading)))


def _peak_bytes() -> int:
    # Not of `getrusage`, which also counts what the process was before it became this program.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
