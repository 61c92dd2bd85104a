"""A forgetting that is killed at any of its storage operations leaves whole versions, and is gone on with.

At a sample of them, unless `--every-kill` asks for each; see `tests.faults.points`.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shards.checks.forgotten import check_forgotten
from shards.keys import file_video_id
from shards.manifest import list_versions, read_version
from shards.store import Store
from tests.faults.books import contents, faults_in, read_receipt
from tests.faults.killer import Killer
from tests.faults.points import kill_points

WriteBuild = Callable[..., Path]


@pytest.fixture(scope="module")
def base(killer: Killer, write_build: WriteBuild, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions: two that hold the video with others, and one that was made without it before."""
    dataset = tmp_path_factory.mktemp("base") / "set"
    for folders in (["first"], ["later"], ["first", "later"]):
        assert killer.build(write_build(dataset, *folders)).exit_code == 0
    assert list_versions(Store(dataset)) == [1, 2, 3]
    return dataset


@pytest.fixture(scope="module")
def video(videos: dict[str, Path]) -> str:
    """A video of two clips."""
    return file_video_id(hashlib.sha256((videos["first"] / "two.mp4").read_bytes()).hexdigest())


def test_killed_at_any_operation_it_goes_on_and_comes_to_the_same_end(
    base: Path, killer: Killer, write_build: WriteBuild, video: str, every_kill: bool, tmp_path: Path
) -> None:
    dataset = tmp_path / "set"
    shutil.copytree(base, dataset)
    config = write_build(dataset, "first", "later")
    undisturbed = killer.forget(config, [video])
    assert undisturbed.exit_code == 0
    assert list_versions(Store(dataset)) == [2, 4]
    expected, receipt = contents(dataset), _receipt(dataset)
    assert killer.build(config).exit_code == 0
    assert contents(dataset) == expected
    operations = undisturbed.operations
    points = kill_points(operations, every_kill)
    faults = []
    for number in points:
        shutil.rmtree(dataset)
        shutil.copytree(base, dataset)
        killed = killer.forget(config, [video], kill_at=number)
        assert killed.signal == signal.SIGKILL
        assert killed.operations == operations[:number]
        what = f"killed at {number} ({operations[number - 1]})"
        faults += [f"{what}: {fault}" for fault in _faults(dataset)]
        again = killer.forget(config, [video])
        faults += [] if again.exit_code == 0 else [f"{what}, again: {again}"]
        faults += [f"{what}, again: {fault}" for fault in faults_in(dataset)]
        faults += [f"{what}, again: {fault}" for fault in check_forgotten(Store(dataset))]
        faults += [] if contents(dataset) == expected else [f"{what}: another end"]
        faults += [] if _receipt(dataset) == receipt else [f"{what}: another receipt"]
        assert not list((dataset / "runs").iterdir())
    assert not faults, "\n".join(faults)
    print(f"killed at {len(points)} of {len(operations)} operations")


def _faults(dataset: Path) -> Iterator[str]:
    yield from faults_in(dataset)
    store = Store(dataset)
    if read_version(store).number not in (3, 4):
        yield "neither the old version nor its successor is the newest"


def _receipt(dataset: Path) -> dict[str, object]:
    (path,) = (dataset / "reports").glob("forget-*.json")
    return read_receipt(path)
