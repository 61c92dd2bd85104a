"""The real command, killed from outside: nothing of it lives on, and the next run ends the work."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.books import contents, faults_in
from tests.faults.commands import genieset, wait_for_silence
from tests.faults.processes import session_members, wait_until

WriteBuild = Callable[..., Path]


def build(config: Path, scratch: Path) -> None:
    with genieset("build", config, "--json", scratch=scratch) as process:
        _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told


def objects(dataset: Path, folder: str) -> int:
    return len(list((dataset / folder).glob("*")))


MOMENTS: dict[str, Callable[[int, Path], object]] = {
    "an attempt was noted": lambda _, dataset: objects(dataset, "attempts"),
    "ffmpeg runs": lambda session, _: any("ffmpeg" in name for name in session_members(session).values()),
    "a commit is there": lambda _, dataset: objects(dataset, "commits"),
    "three commits are there": lambda _, dataset: objects(dataset, "commits") >= 3,
    "a shard is there": lambda _, dataset: objects(dataset, "shards"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_when(
    moment: str, long_build: Callable[[Path], Path], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    dataset, scratch = tmp_path / "set", tmp_path / "scratch"
    config = long_build(dataset)
    with genieset("build", config, scratch=scratch) as process:
        wait_until(lambda: process.poll() is not None or MOMENTS[moment](process.pid, dataset), moment)
        process.kill()
        wait_for_silence(process.pid)
    assert process.returncode == -signal.SIGKILL
    assert faults_in(dataset) == []
    build(config, scratch)
    assert contents(dataset) == undisturbed


@pytest.mark.parametrize("moment", ["an attempt was noted", "ffmpeg runs", "a commit is there"])
def test_ctrl_c_when(
    moment: str, long_build: Callable[[Path], Path], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    dataset, scratch = tmp_path / "set", tmp_path / "scratch"
    config = long_build(dataset)
    with genieset("build", config, scratch=scratch) as process:
        wait_until(lambda: process.poll() is not None or MOMENTS[moment](process.pid, dataset), moment)
        os.killpg(process.pid, signal.SIGINT)
        out, told = process.communicate(timeout=60)
        wait_for_silence(process.pid)
    assert process.returncode == 130
    assert out == ""
    assert [line for line in told.splitlines() if not line.startswith(("discover:", "ingest:"))] == [
        "interrupted; what is done is kept, the same command does the rest"
    ]
    assert faults_in(dataset) == []
    build(config, scratch)
    assert contents(dataset) == undisturbed
