"""Several hundred videos, a tenth of them faulty, and workers killed at random throughout: `make soak`.

Builds the same sources twice, in one child with nobody disturbing, and on a local Ray under a killer.
Says what it measured as one JSON object, and exits non-zero unless both datasets hold the same objects,
the books balance, and nothing is left running; otherwise both are kept, to be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from imageio_ffmpeg import get_ffmpeg_exe

from pipeline.attempts import attempt_journal
from pipeline.status import read_status
from shards.store import Store
from tests.faults.books import contents, faults_in
from tests.faults.commands import genieset
from tests.faults.processes import marked

EXAMPLES = Path(__file__).parents[2] / "examples"
_KILLABLE = ("ffmpeg", "python", "ray::_watch")


def main() -> int:
    """Run the soak; returns the exit code."""
    parser = argparse.ArgumentParser(description="Kill workers at random under a build of many videos.")
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--kill-every-s", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
    kinds = make_videos(folder / "videos", args.videos, random.Random(args.seed))
    report: dict[str, Any] = {"videos": args.videos, "kinds": kinds}
    calm, report["undisturbed"] = run(folder, "calm", ["--jobs", "1"], None)
    killer = Killer(str(folder / "storm-tmp"), args.kill_every_s, random.Random(args.seed))
    storm, fire = run(folder, "storm", ["--jobs", "2"], killer)
    report["under_fire"] = fire
    differing = sorted(name for name in calm.keys() | storm.keys() if calm.get(name) != storm.get(name))
    report["differing"] = differing
    report["left_running"] = list(marked(str(folder)).values())
    bad = (differing, report["left_running"], fire["faults"], fire["kept_apart"])
    good = fire["balanced"] and fire["killed"] and not any(bad)
    if good:
        shutil.rmtree(folder)
    else:
        report["kept"] = str(folder)
    print(json.dumps(report, indent=1))
    return 0 if good else 1


def make_videos(folder: Path, count: int, chance: random.Random) -> dict[str, int]:
    """Stretches of the sample videos, each another; every tenth is spoilt in one of several ways."""
    folder.mkdir()
    samples = sorted((EXAMPLES / "gameplay").glob("*.mp4"))
    spoil = [truncate, flip_bits, write_text, leave_empty, dress_a_playlist, keep_sound_only, shorten]
    kinds: Counter[str] = Counter()
    for number in range(count):
        path = folder / f"{number:04d}.mp4"
        start_s, length_s = chance.uniform(0, 20), chance.uniform(16.5, 36)
        command = [get_ffmpeg_exe(), "-nostdin", "-v", "error", "-ss", f"{start_s:.2f}"]
        command += ["-i", str(samples[number % len(samples)]), "-t", f"{length_s:.2f}"]
        command += ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "copy", str(path)]
        subprocess.run(command, check=True)
        kind = "whole"
        if number % 10 == 9:
            spoiler = spoil[number // 10 % len(spoil)]
            spoiler(path, chance)
            kind = spoiler.__name__
        kinds[kind] += 1
    return dict(kinds)


def truncate(path: Path, chance: random.Random) -> None:
    os.truncate(path, int(path.stat().st_size * chance.uniform(0.3, 0.9)))


def flip_bits(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(40):
        data[chance.randrange(5000, len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def write_text(path: Path, chance: random.Random) -> None:
    path.write_text(f"no video at all {chance.random()}\n" * 100)


def leave_empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def dress_a_playlist(path: Path, chance: random.Random) -> None:
    path.write_text(f"#EXTM3U\n#EXTINF:{chance.random()},\nfile:///etc/hostname\n")


def keep_sound_only(path: Path, chance: random.Random) -> None:
    command = [get_ffmpeg_exe(), "-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=duration=20"]
    subprocess.run([*command, "-y", "-c:a", "aac", "-f", "mp4", str(path)], check=True)
    path.write_bytes(path.read_bytes() + chance.randbytes(8))


def shorten(path: Path, chance: random.Random) -> None:
    new = path.with_suffix(".new.mp4")
    command = [
        get_ffmpeg_exe(),
        "-nostdin",
        "-v",
        "error",
        "-i",
        str(path),
        "-t",
        f"{chance.uniform(3, 9):.2f}",
    ]
    subprocess.run([*command, "-c", "copy", str(new)], check=True)
    new.rename(path)


def run(
    folder: Path, name: str, arguments: list[str], killer: Killer | None
) -> tuple[dict[str, str], dict[str, Any]]:
    """A build of all videos: what it stored, and what it took."""
    dataset, scratch, config = folder / name, folder / f"{name}-tmp", folder / f"{name}.yaml"
    config.write_text(
        json.dumps(
            {
                "dataset": str(dataset),
                "sources": [{"kind": "files", "path": str(folder / "videos")}],
                "curate": {"rules": {"static": "motion >= 0.002"}, "splits": {"train": 0.9, "val": 0.1}},
                "shards": {"max_bytes": "1MB"},
            }
        )
    )
    began_s = time.monotonic()
    with genieset("build", config, *arguments, scratch=scratch) as process, Gauge(scratch) as gauge:
        if killer:
            killer.start()
        _, told = process.communicate()
        if killer:
            killer.stop()
    if process.returncode:
        sys.exit(f"{name}: exit {process.returncode}\n{told[-3000:]}")
    status = read_status(Store(str(dataset)))
    attempts = attempt_journal(Store(str(dataset))).read()
    figures = {
        "seconds": round(time.monotonic() - began_s, 1),
        "videos": status.videos,
        "clips": status.clips,
        "balanced": status.balanced,
        "faults": faults_in(dataset),
        "attempts": dict(Counter(attempts["event"].to_pylist())),
        "kept_apart": [path.name for path in (dataset / "quarantine").glob("*")],
        "killed": dict(killer.killed) if killer else {},
        "peak_memory_bytes": gauge.memory_bytes,
        "peak_scratch_bytes": gauge.scratch_bytes,
    }
    return contents(dataset), figures


class Killer(threading.Thread):
    """Kills one of the marked workers from time to time, whatever it is doing."""

    def __init__(self, mark: str, every_s: float, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._mark, self._every_s, self._chance = mark, every_s, chance
        self._stopped = threading.Event()
        self.killed: Counter[str] = Counter()

    def run(self) -> None:
        while not self._stopped.wait(self._chance.expovariate(1 / self._every_s)):
            victims = [(pid, name) for pid, name in marked(self._mark).items() if self._works(pid, name)]
            if victims:
                pid, name = self._chance.choice(sorted(victims))
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.killed[name] += 1

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _works(self, pid: int, name: str) -> bool:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return name.startswith(_KILLABLE) and (name != "python" or b"pipeline.engine.serve" in command)


class Gauge:
    """The most memory and scratch that a run takes. A context manager."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.memory_bytes = 0
        self.scratch_bytes = 0

    def __enter__(self) -> Gauge:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(2.0):
            memory = sum(_memory_bytes(pid) for pid in marked(str(self._scratch)))
            self.memory_bytes = max(self.memory_bytes, memory)
            self.scratch_bytes = max(self.scratch_bytes, _size_bytes(self._scratch))


def _memory_bytes(pid: int) -> int:
    """The process's share: what it has in common with others is counted once over all of them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _size_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
