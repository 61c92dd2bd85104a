"""The benchmark of ingest runs, and all contenders did the same work; how fast is not for a test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cut import bench_cut
from bench.long_source import bench_memory
from bench.rounds import CannotRun, Cost, Missing, Work, median_ratio, take_turns
from shards.errors import UserError

MakeVideo = Callable[..., Path]
NAMES = ["bare decoding", "ffmpeg -ss a clip"]


def genieset(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def video(make_video: MakeVideo) -> Path:
    """Twenty seconds, in colours that have to be converted."""
    return make_video(
        "twenty.mp4", "testsrc2=size=192x108:rate=30:duration=20", vf="setparams=colorspace=bt709"
    )


def test_the_command_prints_one_object_with_floor_peers_and_ratios(video: Path) -> None:
    done = genieset("bench", "cut", video, "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"measured", "floor", "peers", "ratios"} <= result.keys()
    assert list(result["peers"]) == NAMES
    assert list(result["ratios"]) == ["one ffmpeg", *NAMES]
    source = str(video)
    made = [result["measured"][source], result["floor"][source], result["peers"]["ffmpeg -ss a clip"][source]]
    assert [figures["clips"] for figures in made] == [1, 1, 1]
    assert all(figures["cpu_s"] > 0 for figures in made)
    assert all(ratio[source] > 0 for ratio in result["ratios"].values())


def test_the_command_s_table_ends_with_the_ratio(video: Path) -> None:
    done = genieset("bench", "cut", video, "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "one ffmpeg" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("ingest takes so many times the CPU of one ffmpeg")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    done = genieset("bench", "cut", tmp_path / "none.mp4")
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path / 'none.mp4'}: no such file\n")


@pytest.mark.parametrize("rate", ["10", "24", "30000/1001", "60"])
def test_product_and_floor_make_as_many_clips(make_video: MakeVideo, rate: str) -> None:
    video = make_video("rates.mp4", f"testsrc2=size=64x36:rate={rate}:duration=50")
    result = bench_cut([video], 1, lambda *_: None, {})
    assert result["measured"][str(video)]["clips"] == result["floor"][str(video)]["clips"] == 3


def test_a_source_without_a_clip_is_told(make_video: MakeVideo) -> None:
    short = make_video("short.mp4", "testsrc2=size=64x36:rate=30:duration=5")
    with pytest.raises(UserError, match="rejected:too_short"):
        bench_cut([short], 1, lambda *_: None, {})


def test_a_peer_that_cannot_be_had_says_why(video: Path) -> None:
    def absent(_: Path) -> Work:
        raise CannotRun("no network")

    def fails(_: Path) -> Work:
        return absent

    result = bench_cut([video], 1, lambda *_: None, {"absent": absent, "fails": fails})
    assert result["peers"]["absent"] == result["peers"]["fails"] == {str(video): {"missing": "no network"}}
    assert list(result["ratios"]) == ["one ffmpeg", *NAMES]


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def contender(name: str) -> Callable[[], Work]:
        def work(folder: Path) -> None:
            order.append(name)
            (folder / name).touch()

        return lambda: work

    def count(folder: Path) -> int:
        return len(list(folder.iterdir()))

    costs = take_turns({name: contender(name) for name in "abc"}, 3, count, lambda *_: None)
    assert order == list("abc" * 3)
    for turns in costs.values():
        assert not isinstance(turns, Missing)
        assert [turn.made for turn in turns] == [1, 1, 1]


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    ours = [Cost(cpu_s, 0, 1) for cpu_s in (2.0, 30.0, 3.0)]
    theirs = [Cost(cpu_s, 0, 1) for cpu_s in (1.0, 10.0, 2.0)]
    assert median_ratio(ours, theirs) == 2.0


def test_memory_is_that_of_the_worker_and_of_its_ffmpeg(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Twenty:
        def make(self) -> Path:
            return video

    monkeypatch.setattr("bench.long_source.RENDITIONS", [Twenty()])
    peaks = bench_memory(hours=0.05)
    assert peaks.clips == 11
    assert 0 < peaks.libraries_bytes < peaks.worker_bytes
    assert peaks.ffmpeg_bytes > 0
