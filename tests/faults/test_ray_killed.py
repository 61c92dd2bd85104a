"""The real command on Ray, with a worker, a watcher, a node or the driver killed under it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.books import contents, faults_in
from tests.faults.commands import ROOT, genieset
from tests.faults.processes import marked, wait_until

LongBuild = Callable[[Path], Path]


def finish(process: subprocess.Popen[str]) -> None:
    _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told


def wait_for_silence(scratch: Path) -> None:
    """Until nothing lives any more that was told to put its temporary files there."""
    wait_until(lambda: not marked(str(scratch)), lambda: f"the end of {marked(str(scratch))}")


def test_the_same_bytes_with_two_jobs(
    long_build: LongBuild, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    dataset, scratch = tmp_path / "set", tmp_path / "scratch"
    with genieset("build", long_build(dataset), "--jobs", "2", scratch=scratch) as process:
        finish(process)
        wait_for_silence(scratch)
    assert contents(dataset) == undisturbed


def test_workers_are_killed(long_build: LongBuild, undisturbed: dict[str, str], tmp_path: Path) -> None:
    """One of each kind, one after the other: ffmpeg, the child that runs it, the watcher of the child."""
    dataset, scratch = tmp_path / "set", tmp_path / "scratch"
    with genieset("build", long_build(dataset), "--jobs", "2", scratch=scratch) as process:
        struck: set[int] = set()
        for victim in ("ffmpeg", "child", "watcher"):
            ffmpeg = held_ffmpeg(process, scratch, struck)
            child = parent(ffmpeg)
            os.kill({"ffmpeg": ffmpeg, "child": child, "watcher": parent(child)}[victim], signal.SIGKILL)
            struck.add(ffmpeg)
        finish(process)
        wait_for_silence(scratch)
    assert contents(dataset) == undisturbed


def test_the_driver_is_killed_and_stopped_time_after_time(
    long_build: LongBuild, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    """Killed when ffmpeg runs, stopped by Ctrl-C then, killed when a commit is new; the next run ends it."""
    dataset, scratch = tmp_path / "set", tmp_path / "scratch"
    command = ("build", long_build(dataset), "--jobs", "2")

    def wait_for_ffmpeg(process: subprocess.Popen[str]) -> None:
        wait_until(lambda: process.poll() is not None or ffmpegs(scratch), "ffmpeg to run")

    def commits() -> set[Path]:
        return set((dataset / "commits").glob("*"))

    with genieset(*command, scratch=scratch) as process:
        wait_for_ffmpeg(process)
        process.kill()
        wait_for_silence(scratch)
    assert process.returncode == -signal.SIGKILL
    assert faults_in(dataset) == []

    with genieset(*command, scratch=scratch) as process:
        wait_for_ffmpeg(process)
        os.killpg(process.pid, signal.SIGINT)
        out, told = process.communicate(timeout=60)
        wait_for_silence(scratch)
    assert (process.returncode, out) == (130, "")
    assert "interrupted; what is done is kept, the same command does the rest" in told.splitlines()
    assert faults_in(dataset) == []

    before = commits()
    with genieset(*command, scratch=scratch) as process:
        wait_until(lambda: process.poll() is not None or commits() > before, "a commit")
        process.kill()
        wait_for_silence(scratch)
    assert process.returncode == -signal.SIGKILL
    assert faults_in(dataset) == []

    with genieset(*command, scratch=scratch) as process:
        finish(process)
        wait_for_silence(scratch)
    assert contents(dataset) == undisturbed


def test_a_node_is_killed(long_build: LongBuild, undisturbed: dict[str, str], tmp_path: Path) -> None:
    # Sockets lie below it, whose names the kernel limits to 107 characters.
    dataset, scratch = tmp_path / "set", Path(tempfile.mkdtemp(dir="/tmp"))
    with cluster(scratch) as (nodes, address):
        with genieset("build", long_build(dataset), "--ray-address", address, scratch=scratch) as process:
            wait_until(lambda: process.poll() is not None or len(ffmpegs(scratch)) == 2, "both to work")
            say(nodes, "kill")
            finish(process)
        assert contents(dataset) == undisturbed
    wait_for_silence(scratch)
    shutil.rmtree(scratch)


@contextmanager
def cluster(scratch: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program of `tests.faults.ray_nodes` and its address."""
    nodes = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.ray_nodes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"},
        text=True,
    )
    assert nodes.stdout
    with nodes:
        try:
            yield nodes, nodes.stdout.readline().strip()
        finally:
            assert nodes.stdin
            nodes.stdin.close()


def say(nodes: subprocess.Popen[str], word: str) -> None:
    assert nodes.stdin
    assert nodes.stdout
    nodes.stdin.write(f"{word}\n")
    nodes.stdin.flush()
    assert nodes.stdout.readline()


def ffmpegs(scratch: Path) -> list[int]:
    return [pid for pid, name in marked(str(scratch)).items() if name.startswith("ffmpeg")]


def held_ffmpeg(process: subprocess.Popen[str], scratch: Path, struck: set[int]) -> int:
    """One that is not among those struck before, and that waits to be struck."""
    held: list[int] = []

    def hold() -> bool:
        for pid in ffmpegs(scratch):
            if pid not in struck:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                # It may have ended before it was stopped.
                if pid in ffmpegs(scratch):
                    held.append(pid)
                    return True
        return process.poll() is not None

    wait_until(hold, "another ffmpeg")
    assert held, "the build ended before it was struck"
    return held[0]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
