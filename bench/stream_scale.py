"""Streams of a dataset as large as one likes: how long it takes to open one, to begin anywhere, to resume.

The shards are links to one small tar; each has an index of its own whose keys are its own and whose places
point into that tar. So what is read and what is remembered is what a real dataset of that size has, and the
bytes on disk are not. Each stream is opened in a process of its own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.stream_sample import sample_dataset
from shards.codec import CLIP_FPS, CLIP_FRAMES
from shards.index import index_name
from shards.manifest import ShardEntry, Version, create_version, read_version
from shards.store import Store, write_parquet
from trainer_bridge import open_stream

CLIPS_A_SHARD = 3100
"""So many of 84 kB fill a shard of 256 MB."""

STEPS = (0, 1_000, 10_000_000)
WORKERS = (0, 2)

_CLIPS_A_VIDEO = 37
_SPLIT = "train"


@dataclass(frozen=True)
class Place:
    """A stream that begins at one step.

    Attributes:
        open_s: until `open_stream` returns.
        first_batch_s: until its first batch is there, from then on.
        next_batch_s: for the batch after it.
        resume_s: another stream at step 0 is given the state of this one, until its batch is there; it has
            had a batch before, so its workers run.
        base_bytes: resident memory before anything was opened.
        peak_bytes: at most.
        child_peak_bytes: the same of the largest worker; 0 without workers.
    """

    step: int
    workers: int
    open_s: float
    first_batch_s: float
    next_batch_s: float
    resume_s: float
    base_bytes: int
    peak_bytes: int
    child_peak_bytes: int


@dataclass(frozen=True)
class Scale:
    """What `genieset bench stream --clips` measured."""

    clips: int
    shards: int
    disk_bytes: int
    batch_size: int
    places: tuple[Place, ...]


def measure(clips: int, batch_size: int, say: Callable[[str], None]) -> Scale:
    """Measure on this machine; takes some 100 MB of disk for a million clips."""
    with tempfile.TemporaryDirectory(prefix="genieset-bench-") as folder:
        dataset = Path(folder) / "set"
        say(f"writing {clips:,} clips")
        shards = write_linked(dataset, sample_dataset(), clips)
        places = []
        for workers in WORKERS:
            for step in STEPS:
                say(f"step {step:,}, {workers} workers")
                places.append(_in_a_process(dataset, step, batch_size, workers))
        return Scale(clips, shards, _disk_bytes(dataset), batch_size, tuple(places))


def write_linked(dataset: Path, sample: Path, clips: int) -> int:
    """Publish so many clips whose bytes are those of a sample's first shard; returns how many shards."""
    source, store = Store(sample), Store(dataset)
    (entry, *_) = read_version(source).shards
    rows = source.read_table(index_name(entry.name))
    rows = rows.filter(pc.equal(rows["n_frames"], CLIP_FRAMES)).combine_chunks()
    entries = []
    for number, first in enumerate(range(0, clips, CLIPS_A_SHARD)):
        name = f"shards/{_SPLIT}-{number:06d}.tar"
        count = min(CLIPS_A_SHARD, clips - first)
        tar, index = store.path(name), store.path(index_name(name))
        tar.parent.mkdir(parents=True, exist_ok=True)
        # A shard of its own to whoever keeps files open, and no bytes.
        _link(source.path(entry.name), tar)
        file = io.BytesIO()
        write_parquet(_renamed(rows, np.arange(first, first + count)), file)
        index.write_bytes(file.getvalue())
        sha256 = hashlib.sha256(file.getvalue()).hexdigest()
        entries.append(
            ShardEntry(name, _SPLIT, count, entry.bytes, entry.sha256, sha256, {CLIP_FRAMES: count})
        )
    create_version(store, Version(1, None, {"clips": clips}, tuple(entries)))
    return len(entries)


def _renamed(rows: pa.Table, numbers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Table:
    """Rows of an index under the keys of these clips of an endless row of videos."""
    table = rows.take(pa.array(numbers % len(rows)))
    videos, places = np.divmod(numbers, _CLIPS_A_VIDEO)
    frames = places * CLIP_FRAMES
    # In another order than they were found: publishing deals clips out so that neighbours are strangers.
    video_ids = pc.binary_join_element_wise("example", _padded(videos * 7919 % 10**9, 9), "-")
    columns = {
        "key": pc.binary_join_element_wise(video_ids, _padded(frames, 8), "_"),
        "video_id": video_ids,
        "start_s": pa.array(frames / CLIP_FPS),
    }
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    return table


def _padded(numbers: np.ndarray[tuple[int], np.dtype[np.int64]], width: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")


def _link(source: Path, to: Path) -> None:
    try:
        os.link(source, to)
    except OSError:  # another disk, or a file that has as many links as it may
        to.write_bytes(source.read_bytes())


def _disk_bytes(folder: Path) -> int:
    files = {(at.st_dev, at.st_ino): at.st_blocks * 512 for at in map(os.stat, folder.rglob("*"))}
    return sum(files.values())


def _in_a_process(dataset: Path, step: int, batch_size: int, workers: int) -> Place:
    words = [str(dataset), str(step), str(batch_size), str(workers)]
    command = [sys.executable, "-P", "-m", "bench.stream_scale", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Place(**json.loads(done.stdout))


def _place(dataset: str, step: int, batch_size: int, workers: int) -> Place:
    import torch

    # Colours are not what is measured; left to itself torch starts a thread a core for them.
    torch.set_num_threads(1)
    options: dict[str, Any] = {"batch_size": batch_size, "workers": workers, "dtype": torch.uint8}
    base_bytes = _peak_bytes()
    began = time.perf_counter()
    stream = open_stream(dataset, split=_SPLIT, step=step, **options)
    opened = time.perf_counter()
    next(stream)
    first = time.perf_counter()
    state = stream.state_dict() | {"step": step}
    second = time.perf_counter()
    next(stream)
    third = time.perf_counter()
    del stream
    other = open_stream(dataset, split=_SPLIT, **options)
    next(other)
    given = time.perf_counter()
    other.load_state_dict(state)
    next(other)
    resumed = time.perf_counter()
    del other
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 if workers else 0
    return Place(
        step=step,
        workers=workers,
        open_s=opened - began,
        first_batch_s=first - opened,
        next_batch_s=third - second,
        resume_s=resumed - given,
        base_bytes=base_bytes,
        peak_bytes=_peak_bytes(),
        child_peak_bytes=children,
    )


def main() -> None:
    """Open a stream and say what it took: the process of its own."""
    dataset, *numbers = sys.argv[1:]
    print(json.dumps(asdict(_place(dataset, *map(int, numbers)))))


def _peak_bytes() -> int:
    # Not of `getrusage`, which also counts what the process was before it became this program.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
