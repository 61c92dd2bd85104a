"""How much memory ingest takes of a source of many hours."""

from __future__ import annotations

import os
import re
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cut import unit_of
from bench.sources import RENDITIONS, loop
from pipeline.engine import Done, Part, all_parts
from pipeline.engine.child import OneChild
from pipeline.ingest import ingest

_LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Peaks:
    """Resident memory at its peak.

    Attributes:
        libraries_bytes: of the worker before: the interpreter and all that it has loaded.
        worker_bytes: of the worker, libraries included.
        ffmpeg_bytes: of its ffmpeg.
    """

    hours: float
    clips: int
    cpu_s: float
    libraries_bytes: int
    worker_bytes: int
    ffmpeg_bytes: int


def bench_memory(hours: float) -> Peaks:
    """Ingest a looped sample of so many hours in a worker process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "long.mp4"
        loop(RENDITIONS[0].make(), video, hours * 3600)
        ((_, outcome),) = OneChild().run(
            _measure, [(hours, str(video))], lambda _: Part(deadline_s=24 * 3600)
        )
    if not isinstance(outcome, Done):
        raise RuntimeError(f"ingest of {hours} hours: {outcome}")
    return outcome.result


def _measure(long: tuple[float, str]) -> Peaks:
    hours, video = long
    libraries_bytes = _peak_bytes(os.getpid())
    cpu_s = time.process_time()
    unit = unit_of(Path(video))
    with _children_watched() as peak_bytes, tempfile.TemporaryDirectory() as dataset:
        ended = all_parts(ingest(replace(unit, store=dataset)))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Peaks(
        hours=hours,
        clips=ended.clips,
        cpu_s=round(time.process_time() - cpu_s + children.ru_utime + children.ru_stime, 1),
        libraries_bytes=libraries_bytes,
        worker_bytes=_peak_bytes(os.getpid()),
        ffmpeg_bytes=max(peak_bytes.values(), default=0),
    )


@contextmanager
def _children_watched() -> Iterator[dict[int, int]]:
    """The peak of each child so far, as it was last seen."""
    peaks: dict[int, int] = {}
    over = threading.Event()

    def watch() -> None:
        children = Path(f"/proc/self/task/{threading.main_thread().native_id}/children")
        while not over.wait(_LOOK_EVERY_S):
            for child in map(int, children.read_text().split()):
                # One that has ended and is not yet waited for has no memory any more.
                peaks[child] = max(peaks.get(child, 0), _peak_bytes(child))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def _peak_bytes(process: int) -> int:
    """Resident memory at its peak since the program began; 0 if it has ended.

    `getrusage` counts what a process had before it became this program, too: its parent's memory.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
