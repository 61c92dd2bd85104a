"""The benchmark of streams measures every contender; how fast they are is not for a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.driven import Contender, Turn, turns_of
from bench.shuffle import shuffle_quality
from bench.stream import bench_stream, ratios
from bench.stream_sample import publish_repeated
from bench.stream_scale import write_linked
from shards.codec import encode_clip
from shards.errors import UserError
from shards.index import read_index
from shards.manifest import read_version
from shards.records import Placed
from shards.store import Store
from trainer_bridge import batch_digests, open_stream


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 clips in 4 shards, of 4 distinct ones."""
    draw = np.random.default_rng(0)
    pictures = [draw.integers(16, 235, (160, 72, 64), np.uint8) for _ in range(4)]
    distinct = [(f"video-{number}", 0, encode_clip(frames)) for number, frames in enumerate(pictures)]
    folder = tmp_path_factory.mktemp("bench") / "set"
    publish_repeated(folder, distinct, 80, 4)
    return folder


def placed_in(dataset: Path) -> list[Placed]:
    store = Store(dataset)
    return [placed for entry in read_version(store).shards for placed in read_index(store, entry.name)]


def genieset(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", "bench", "stream", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_digests_are_those_of_the_stream_for_every_world_size(sample: Path) -> None:
    told = [
        genieset(sample, "--digest", "--steps", 2, "--from-step", 40, "--world-size", ranks)
        for ranks in ("1", "4")
    ]
    assert told[0].returncode == 0, told[0].stderr
    stream = open_stream(sample, batch_size=32, step=40)
    assert told[0].stdout.split() == [next(stream).digest(), next(stream).digest()]
    assert told[1].stdout == told[0].stdout
    done = genieset(sample, "--digest", "--steps", 2, "--json")
    assert json.loads(done.stdout)["digests"] == list(batch_digests(sample, batch_size=32, steps=2))


def test_digests_of_nothing_are_refused() -> None:
    done = genieset("--digest")
    assert done.returncode == 2
    assert "give its folder or URL" in done.stderr


def test_ours_and_the_floors_are_measured(
    sample: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.stream.HOME", tmp_path)
    turns: list[tuple[int, int, str]] = []
    found = bench_stream(
        sample,
        split="train",
        batch_size=8,
        window=16,
        seed=0,
        rounds=2,
        peers=False,
        only=("planes", "decode and keep", "raw RGB in a mapped file"),
        batches=2,
        on_turn=lambda *turn: turns.append(turn),
    )
    assert [turn[:2] for turn in turns] == [(number, 9) for number in range(1, 10)]
    assert set(found["measured"]) == {"planes"}
    for figures in (found["measured"] | found["floor"]).values():
        assert figures["windows_per_cpu_s"] > 0
        assert figures["batch_ms"]["p50"] <= figures["batch_ms"]["p99"]
    index = [
        placed
        for entry in read_version(Store(sample)).shards
        for placed in read_index(Store(sample), entry.name)
    ]
    window_bytes = [sum(placed.packet_sizes[:16]) for placed in index]
    assert (
        min(window_bytes) / 2 < found["measured"]["planes"]["read_bytes_per_window"] < 2 * max(window_bytes)
    )
    assert found["ratios"].keys() == {"floor / planes"}
    json.dumps(found)


def test_clips_of_several_lengths_are_refused(tmp_path: Path) -> None:
    grey = np.full((32, 72, 64), 128, np.uint8)
    distinct = [("short", 0, encode_clip(grey[:16])), ("long", 0, encode_clip(grey))]
    publish_repeated(tmp_path, distinct, 4, 1)
    with pytest.raises(UserError, match="whose clips all have the same"):
        bench_stream(
            tmp_path, split="train", batch_size=2, window=16, seed=0, rounds=1, peers=False, on_turn=print
        )


def test_a_contender_that_fails_is_told_with_its_last_line() -> None:
    talks = "from bench.turns import serve; serve(lambda: iter([2, 2, 2, 3]), 1)"
    contenders = [
        Contender("fails", (sys.executable, "-c", "raise SystemExit('no such codec')"), {}),
        Contender("ends", (sys.executable, "-c", talks), {}),
    ]
    turns = turns_of(contenders, 2, 2, lambda *_: None)
    assert turns["fails"] == "no such codec"
    assert turns["ends"] == "StopIteration"
    (turn,) = turns_of(contenders[1:], 1, 2, lambda *_: None)["ends"]
    assert isinstance(turn, Turn)
    assert turn.windows == 4
    assert len(turn.batch_s) == 2


def test_ratios_are_of_the_rounds_and_of_the_fastest_peer() -> None:
    def turns(*seconds: float) -> list[Turn]:
        return [Turn(100, 1.0, cpu_s, 0, ()) for cpu_s in seconds]

    found = ratios(
        {
            "planes": turns(1, 2, 4),
            "decode and keep": turns(0.5, 1, 1),
            "planes, anywhere": turns(1, 1, 1),
            "webdataset + decord2": turns(4, 4, 4),
            "litdata + torchcodec": turns(2, 2, 3),
            "webdataset, not decoded": turns(0.1, 0.1, 0.1),
            "mosaicml-streaming + torchcodec": "it cannot be installed",
        }
    )
    assert found == {"floor / planes": 2.0, "planes / best peer": 2.0, "planes / decord2": 4.0}


def test_batches_mix_as_chance_does_and_ranks_read_few_shards(sample: Path) -> None:
    store = Store(sample)
    found = shuffle_quality(store, read_version(store).shards, 16, 0, 16)
    expected = 9 / 799  # of 800 windows, ten a clip
    assert found.permuted.same_clip == pytest.approx(expected, rel=0.5)
    assert found.ours.same_clip == pytest.approx(expected, rel=0.5)
    assert found.ours.shards_per_rank < found.unsorted_shards_per_rank
    assert found.ours.shards_per_rank < found.permuted.shards_per_rank


def test_a_linked_dataset_streams_and_takes_no_room(sample: Path, tmp_path: Path) -> None:
    assert write_linked(tmp_path / "set", sample, 4000) == 2
    store = Store(tmp_path / "set")
    keys = [
        placed.clip.key for entry in read_version(store).shards for placed in read_index(store, entry.name)
    ]
    assert len(set(keys)) == 4000
    inodes = {path.stat().st_ino for path in (tmp_path / "set").rglob("*.tar")}
    assert len(inodes) == 1
    batch = next(open_stream(tmp_path / "set", batch_size=4, step=10_000_000))
    assert batch.video.shape == (4, 16, 3, 48, 64)
