"""A small build that has a bit of everything: two splits, three shards, and files that end badly."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from shards.keys import file_video_id, split_of
from tests.faults.books import contents, faults_in
from tests.faults.commands import genieset
from tests.faults.killer import Killer

MakeVideo = Callable[..., Path]
WriteBuild = Callable[..., Path]

_EXACT = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-fflags", "+bitexact"]


@pytest.fixture(scope="session")
def videos(make_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders: `first` gives three clips, one video too short, and text; `later` one more clip."""
    recipes = {
        "first/one.mp4": "testsrc2=size=32x18:rate=10:duration=17",
        "first/two.mp4": "testsrc2=size=64x36:rate=10:duration=33",
        "first/short.mp4": "testsrc2=size=32x18:rate=10:duration=3",
        "later/three.mp4": "testsrc2=size=48x36:rate=10:duration=17",
    }
    root = tmp_path_factory.mktemp("sources")
    for folder in ("first", "later"):
        (root / folder).mkdir()
    for name, source in recipes.items():
        shutil.copy(make_video(f"faults-{Path(name).name}", source, out=_EXACT), root / name)
    (root / "first" / "text.mp4").write_text("no video at all\n" * 100)
    return {"first": root / "first", "later": root / "later"}


@pytest.fixture(scope="session")
def write_build(videos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> WriteBuild:
    """write_build(dataset, "first", "later") -> a config over these folders, a clip a shard."""
    configs = tmp_path_factory.mktemp("configs")
    share = _share_that_parts(videos["first"] / "one.mp4", videos["first"] / "two.mp4")

    def write(dataset: Path, *folders: str) -> Path:
        body = {
            "dataset": str(dataset),
            "sources": [{"kind": "files", "path": str(videos[folder])} for folder in folders],
            "curate": {"splits": {"train": share, "val": round(1 - share, 2)}},
            "shards": {"max_bytes": 1},
        }
        path = configs / f"{hashlib.sha256(repr(body).encode()).hexdigest()[:16]}.yaml"
        path.write_text(yaml.safe_dump(body))
        return path

    return write


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    """Builds in a process that can be killed at any operation."""
    with Killer(tmp_path_factory.mktemp("scratch") / "0") as one:
        yield one


def _share_that_parts(one: Path, other: Path) -> float:
    """A share of `train` that puts two videos on different sides."""
    ids = [file_video_id(hashlib.sha256(path.read_bytes()).hexdigest()) for path in (one, other)]
    shares = [number / 100 for number in range(5, 100, 5)]
    return next(s for s in shares if len({split_of(i, {"train": s, "val": 1 - s}) for i in ids}) == 2)


@pytest.fixture(scope="session")
def long_build(
    make_video: MakeVideo, write_build: WriteBuild, videos: dict[str, Path]
) -> Callable[[Path], Path]:
    """long_build(dataset) -> a config with one video of 100 seconds, so that a kill finds ffmpeg at work."""
    long = videos["first"].parent / "long"
    long.mkdir()
    source = "testsrc2=size=64x36:rate=10:duration=100"
    shutil.copy(make_video("faults-long.mp4", source, out=_EXACT), long / "long.mp4")
    videos["long"] = long
    return lambda dataset: write_build(dataset, "first", "long")


@pytest.fixture(scope="session")
def undisturbed(
    long_build: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What the dataset of `long_build` holds when nobody disturbs: built by the command, in one child."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with genieset("build", long_build(folder / "set"), scratch=folder / "scratch") as process:
        _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert faults_in(folder / "set") == []
    return contents(folder / "set")
