"""How well copies of footage are found, and what it takes among a million clips.

* **on real videos**: of each, ffmpeg makes copies of every kind in `bench.planted`, which are cut,
  encoded and measured as ingest does it. A copy's clip counts as found if matches with the original
  cover the larger part of it: then `first_of_group` drops it. A pair of clips is false if the two do
  not show the same instant within 0.3 s.
* **synthetic**: fingerprints made after what real ones are like, a tenth of the videos copies of others;
  time, memory and pairs proposed. What is false among a million real clips, it cannot tell.

The thresholds of `pipeline.duplicates` were chosen on the sample videos: figures on these are no test of
their own. Give `--videos` a folder of others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.planted import KINDS, Synthetic, fingerprints_of, make_copy, synthesize
from filters.fingerprint import FINGERPRINT_FPS, FRAMES, WHOLE_SLOTS, unpack
from pipeline.duplicates import Effort, Int, Matches, find_matches
from shards.errors import UserError

_COPIED = 0.1
_SAME_FRAMES = 3
_MOVING_FRAMES = 40
"""A clip with less change than this is left out of the second recall."""


@dataclass(frozen=True)
class Found:
    """What was found of one kind of copies.

    Attributes:
        clips: of the copies, those of which the originals' clips show the larger part.
        moving: those of them in which something changes during 4 s.
        pairs, false_pairs: that were found, and that are none, of all clips together.
        false_drops: clips of which the larger part lies in false pairs, so that one of two is dropped.
    """

    clips: int
    found: int
    moving: int
    moving_found: int
    pairs: int
    false_pairs: int
    false_drops: int
    reported_only: bool


@dataclass(frozen=True)
class Scale:
    """What it takes among many synthetic clips.

    Attributes:
        planted, found: pairs of clips that share the larger part of their footage, and those found of them.
        peak_bytes: resident memory of the process above what the fingerprints and libraries took.
    """

    clips: int
    seconds: float
    fingerprint_bytes: int
    peak_bytes: int
    entries: int
    candidates: int
    pairs: int
    false_pairs: int
    planted: int
    found: int


@dataclass(frozen=True)
class Planted:
    """What `genieset bench duplicates` measured on videos.

    Attributes:
        cpu_ms: of measuring a fingerprint, a clip.
    """

    videos: int
    originals: int
    cpu_ms: float
    kinds: dict[str, Found]


def measure_planted(folder: Path, say: Callable[[str], None]) -> Planted:
    """Plant copies of all videos of a folder, and look for them.

    Raises:
        UserError: no video of 16 s is there.
    """
    videos = sorted(folder.glob("*.mp4"))
    spent: list[float] = []

    def timed(measure: Callable[[], bytes]) -> bytes:
        began = time.process_time()
        value = measure()
        spent.append(time.process_time() - began)
        return value

    originals = [fingerprints_of(video, timed) for video in videos]
    if not any(firsts for firsts, _ in originals):
        raise UserError(f"{folder}: no clip comes of it; give a folder with mp4 files of 16 s and more")
    kinds = {}
    with tempfile.TemporaryDirectory(prefix="genieset-bench-") as place:
        for name, kind in KINDS.items():
            say(f"copies: {name}")
            copies = []
            for video in videos:
                copy = Path(place) / "copy.mp4"
                make_copy(video, kind, copy)
                copies.append(fingerprints_of(copy, timed))
            later = round(kind.start_s * FINGERPRINT_FPS)
            kinds[name] = _found(originals, copies, later, reported_only=kind.reported_only)
    count = sum(len(firsts) for firsts, _ in originals)
    return Planted(len(videos), count, 1e3 * sum(spent) / len(spent), kinds)


Measured = Sequence[tuple[list[int], list[bytes]]]


def _found(originals: Measured, copies: Measured, later: int, *, reported_only: bool) -> Found:
    both = [*originals, *copies]
    fingerprints = unpack([value for _, values in both for value in values])
    videos = np.repeat(np.arange(len(both)), [len(firsts) for firsts, _ in both])
    starts = np.array([first for firsts, _ in both for first in firsts], np.int64)
    film = videos % len(originals)
    copied = videos >= len(originals)
    first = starts + np.where(copied, later, 0)
    matches = find_matches(fingerprints, videos, starts)
    true = _is_true(matches, film, first)
    covered = _covered(matches, true & copied[matches.second] & ~copied[matches.first], len(videos))
    wanted = copied & (_covered_by_originals(film, first, copied) * 2 > FRAMES)
    moving = wanted & ((fingerprints[:, :WHOLE_SLOTS] != 0).sum(axis=1) >= _MOVING_FRAMES)
    return Found(
        clips=int(wanted.sum()),
        found=int((wanted & covered).sum()),
        moving=int(moving.sum()),
        moving_found=int((moving & covered).sum()),
        pairs=len(matches),
        false_pairs=int((~true).sum()),
        false_drops=int(_covered(matches, ~true, len(videos)).sum()),
        reported_only=reported_only,
    )


def _covered(matches: Matches, some: npt.NDArray[np.bool_], clips: int) -> npt.NDArray[np.bool_]:
    """The clips of which some matches, with them as the second, cover the larger part."""
    seen = np.zeros((clips, FRAMES), bool)
    columns = (matches.second, matches.start, matches.stop)
    for row, start, stop in zip(*(column[some].tolist() for column in columns), strict=True):
        seen[row, start:stop] = True
    covered: npt.NDArray[np.bool_] = seen.sum(axis=1) * 2 > FRAMES
    return covered


def _is_true(matches: Matches, film: Int, first: Int) -> npt.NDArray[np.bool_]:
    one, other = matches.first, matches.second
    apart = np.abs(first[other] - first[one] - matches.shift)
    same: npt.NDArray[np.bool_] = (film[one] == film[other]) & (apart <= _SAME_FRAMES)
    return same


def _covered_by_originals(film: Int, first: Int, copied: npt.NDArray[np.bool_]) -> Int:
    """How many frames of each clip the originals' clips show."""
    shown = np.zeros(len(film), np.int64)
    for row in range(len(film)):
        apart = np.abs(first[~copied & (film == film[row])] - first[row])
        shown[row] = np.maximum(0, FRAMES - apart).sum()
    return shown


def measure_scale(clips: int) -> Scale:
    """Look for the copies among so many synthetic clips, in a process of its own."""
    command = [sys.executable, "-P", "-m", "bench.duplicates", str(clips)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Scale(**json.loads(done.stdout))


def main() -> None:
    """The process of its own."""
    planted = synthesize(int(sys.argv[1]), _COPIED)
    before = _memory_bytes("VmRSS")
    # From here on the peak is counted anew (proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    effort, began_s = Effort(), time.perf_counter()
    matches = find_matches(planted.fingerprints, planted.videos, planted.starts, effort)
    seconds = time.perf_counter() - began_s
    wanted = _planted_pairs(planted)
    true = _is_true(matches, planted.origin, planted.first)
    found = matches.first[true] << 32 | matches.second[true]
    scale = Scale(
        clips=len(planted.videos),
        seconds=seconds,
        fingerprint_bytes=planted.fingerprints.nbytes,
        peak_bytes=_memory_bytes("VmHWM") - before,
        entries=effort.entries,
        candidates=effort.candidates,
        pairs=len(matches),
        false_pairs=int((~true).sum()),
        planted=len(wanted),
        found=len(np.intersect1d(wanted, found)),
    )
    print(json.dumps(asdict(scale)))


def _planted_pairs(planted: Synthetic) -> Int:
    """Pairs of rows that share more than half, as `first << 32 | second`."""
    row = np.arange(len(planted.videos))
    order = np.lexsort([planted.first, planted.origin])
    place = (planted.origin << 32 | planted.first)[order]
    pairs = []
    for step in range(1, 4):
        near = (place[step:] - place[:-step]) < FRAMES // 2
        one, other = row[order[:-step][near]], row[order[step:][near]]
        pairs.append(np.minimum(one, other) << 32 | np.maximum(one, other))
    return np.unique(np.concatenate(pairs))


def _memory_bytes(what: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if what in line)
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
