"""A disk that is full: one line, nothing half there, and the same bytes once there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.disks import MountDisk
from tests.faults.books import contents, faults_in
from tests.faults.commands import genieset

LongBuild = Callable[[Path], Path]


@pytest.fixture
def small_disk(mount_disk: MountDisk) -> Path:
    """A disk that a build fills, and that can be made larger."""
    return mount_disk("100k")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_build_goes_on_when_there_is_room(
    jobs: str, long_build: LongBuild, undisturbed: dict[str, str], small_disk: Path, tmp_path: Path
) -> None:
    dataset = small_disk / "set"
    config = long_build(dataset)
    with genieset("build", config, "--jobs", jobs, scratch=tmp_path / "tmp") as process:
        _, told = process.communicate(timeout=120)
    assert process.returncode == 2
    assert told.splitlines()[-1].endswith(
        "No space left on device; make room, then the same command goes on from here"
    )
    assert faults_in(dataset) == []
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    with genieset("build", config, "--jobs", jobs, scratch=tmp_path / "tmp") as process:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    assert contents(dataset) == undisturbed
