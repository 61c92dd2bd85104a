"""The benchmark of scorers runs over all of them; how fast they are is not for a test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.score import bench_score
from filters.base import scorer_names
from shards.errors import UserError

MakeVideo = Callable[..., Path]


def genieset(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def video(make_video: MakeVideo) -> Path:
    return make_video("two.mp4", "testsrc2=size=320x180:rate=10:duration=33")


def test_the_command_prints_one_object_with_every_scorer(video: Path) -> None:
    done = genieset("bench", "score", video, "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["measured"]) == list(result["ratios"]) == scorer_names()
    assert {"measured", "floor", "peers", "ratios"} <= result.keys()
    assert result["clips"] == 2
    assert all(figures["cpu_ms_per_clip"] >= 0 for figures in result["measured"].values())


def test_the_command_s_table_ends_with_the_dearest(video: Path) -> None:
    done = genieset("bench", "score", video, "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "motion (clip)" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("the dearest scorer is ")


def test_a_classifier_is_measured_beside_them(
    video: Path, tmp_path: Path, untrained: Callable[..., str]
) -> None:
    folder = tmp_path / "classifiers"
    learned = folder / untrained(folder)
    done = genieset("bench", "score", video, "--rounds", "1", "--classifier", learned, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measured"]["quality"]["cpu_ms_per_clip"] > 0


@pytest.mark.parametrize("name", ["none.mp4", "."])
def test_what_is_no_file_is_one_line(name: str, tmp_path: Path) -> None:
    done = genieset("bench", "score", tmp_path / name)
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path / name}: is no file; name videos\n")


def test_a_file_that_is_no_video_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_text("dataset: no video\n")
    done = genieset("bench", "score", tmp_path / "no.mp4")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'no.mp4'}: no video container")


def test_a_video_without_a_clip_is_told(make_video: MakeVideo) -> None:
    short = make_video("short.mp4", "testsrc2=size=64x36:rate=30:duration=5")
    with pytest.raises(UserError, match="there is no clip in it"):
        bench_score([short], 1, lambda *_: None)
