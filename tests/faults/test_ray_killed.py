"""The real command on Ray, with a worker, a watcher, a node or the driver killed under it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def expected(long_build: LongBuild, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the dataset holds when nobody kills anything: built in one child, not on Ray."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with genieset("build", long_build(folder / "set"), scratch=folder / "scratch") as process:
        finish(process)
    assert faults_in(folder / "set") == []
    return contents(folder / "set")


def test_the_same_bytes_with_two_jobs(
    long_build: LongBuild, expected: dict[str, str], tmp_path: Path
) -> None:
    dataset, scratch = tmp_path / "set", tmp_path / "scratch"
    with genieset("build", long_build(dataset), "--jobs", "2", scratch=scratch) as process:
        finish(process)
        wait_for_silence(scratch)
    assert contents(dataset) == expected


@pytest.mark.parametrize("victim", ["ffmpeg", "child", "watcher"])
def test_a_worker_is_killed(
    victim: str, long_build: LongBuild, expected: dict[str, str], tmp_path: Path
) -> None:
    dataset, scratch = tmp_path / "set", tmp_path / "scratch"
    with genieset("build", long_build(dataset), "--jobs", "2", scratch=scratch) as process:
        wait_until(lambda: process.poll() is not None or ffmpegs(scratch), "ffmpeg to run")
        ffmpeg = ffmpegs(scratch)[0]
        child = parent(ffmpeg)
        os.kill({"ffmpeg": ffmpeg, "child": child, "watcher": parent(child)}[victim], signal.SIGKILL)
        finish(process)
        wait_for_silence(scratch)
    assert contents(dataset) == expected


@pytest.mark.parametrize("moment", ["ffmpeg runs", "a commit is there"])
def test_the_driver_is_killed(
    moment: str, long_build: LongBuild, expected: dict[str, str], tmp_path: Path
) -> None:
    dataset, scratch = tmp_path / "set", tmp_path / "scratch"
    config = long_build(dataset)
    moments = {
        "ffmpeg runs": lambda: ffmpegs(scratch),
        "a commit is there": lambda: list((dataset / "commits").glob("*")),
    }
    with genieset("build", config, "--jobs", "2", scratch=scratch) as process:
        wait_until(lambda: process.poll() is not None or moments[moment](), moment)
        process.kill()
        wait_for_silence(scratch)
    assert process.returncode == -signal.SIGKILL
    assert faults_in(dataset) == []
    with genieset("build", config, "--jobs", "2", scratch=scratch) as process:
        finish(process)
    assert contents(dataset) == expected


def test_ctrl_c(long_build: LongBuild, expected: dict[str, str], tmp_path: Path) -> None:
    dataset, scratch = tmp_path / "set", tmp_path / "scratch"
    config = long_build(dataset)
    with genieset("build", config, "--jobs", "2", scratch=scratch) as process:
        wait_until(lambda: process.poll() is not None or ffmpegs(scratch), "ffmpeg to run")
        os.killpg(process.pid, signal.SIGINT)
        out, told = process.communicate(timeout=60)
        wait_for_silence(scratch)
    assert (process.returncode, out) == (130, "")
    assert "interrupted; what is done is kept, the same command does the rest" in told.splitlines()
    assert faults_in(dataset) == []
    with genieset("build", config, "--jobs", "2", scratch=scratch) as process:
        finish(process)
    assert contents(dataset) == expected


def test_a_node_is_killed(long_build: LongBuild, expected: dict[str, str], tmp_path: Path) -> None:
    # Sockets lie below it, whose names the kernel limits to 107 characters.
    dataset, scratch = tmp_path / "set", Path(tempfile.mkdtemp(dir="/tmp"))
    with cluster(scratch) as (nodes, address):
        with genieset("build", long_build(dataset), "--ray-address", address, scratch=scratch) as process:
            wait_until(lambda: process.poll() is not None or len(ffmpegs(scratch)) == 2, "both to work")
            say(nodes, "kill")
            finish(process)
        assert contents(dataset) == expected
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


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
