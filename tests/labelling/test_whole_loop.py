"""Build, label on the page, train, apply, curate, publish: what is kept afterwards is better."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser

from bench.sources import run_ffmpeg
from shards.catalog import read_clips
from shards.keys import parse_key
from shards.manifest import read_version
from shards.store import Store
from tests.labelling.conftest import EXAMPLES, serving
from tests.labelling.test_page import browser, opened, press, pytestmark, shown  # noqa: F401 - a fixture

GAMES = ("coinrun_hard_run", "jumper_bunny", "climber_tower_4x3", "miner_dig_4x3", "caveflyer_60fps")
DRAWN = (
    "testsrc2=size=320x180",
    "mandelbrot=size=320x180",
    "cellauto=size=320x180:rule=110",
    "life=size=320x180",
)
DRAWN_S = 52


def genieset(*arguments: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "genieset", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture
def config(tmp_path: Path) -> Path:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in GAMES:
        (videos / f"{name}.mp4").symlink_to(EXAMPLES / "gameplay" / f"{name}.mp4")
    for place, drawn in enumerate(DRAWN):
        source = ("-f", "lavfi", "-i", f"{drawn}:rate=30", "-t", str(DRAWN_S))
        run_ffmpeg(*source, "-c:v", "libx264", "-preset", "ultrafast", videos / f"drawn{place}.mp4")
    config = tmp_path / "loop.yaml"
    settings = {
        "dataset": str(tmp_path / "set"),
        "sources": [{"kind": "files", "path": str(videos)}],
        "curate": {"splits": {"train": 1.0}},
    }
    config.write_text(yaml.safe_dump(settings))
    return config


def precision(store: Store, good: frozenset[str]) -> float:
    """Share of gameplay among the clips that the newest version published."""
    clips = read_clips(store)
    assert clips is not None
    kept = [row["video_id"] for row in clips.to_pylist() if row["decision"] == "kept"]
    assert len(kept) == sum(read_version(store).splits.values())
    return sum(video in good for video in kept) / len(kept)


def test_the_whole_loop(browser: Browser, config: Path, tmp_path: Path) -> None:  # noqa: F811
    genieset("build", config)
    dataset = tmp_path / "set"
    store = Store(str(dataset))
    videos = store.read_table("catalog/videos/curated.parquet").to_pylist()
    good = frozenset(row["video_id"] for row in videos if Path(row["url"]).stem in GAMES)
    before = precision(store, good)
    assert 0.4 < before < 0.8

    with serving(dataset, "--labeller", "ann", "--clips", "1000") as server:
        page = opened(browser, server.address)
        clips = read_clips(store)
        assert clips is not None
        for _ in range(len(clips)):
            press(page, "5" if parse_key(shown(page))[0] in good else "1")
        server.end()
    labels = dataset / "labels" / "labels.jsonl"
    assert len(labels.read_text().splitlines()) == len(clips)

    trained = genieset(
        *("classifier", "train", dataset, "--labels", labels),
        *("--frames", "2", "--epochs", "6", "--folds", "3", "--target-precision", "0.8"),
    )
    told = genieset("classifier", "apply", dataset, trained["id"])
    assert told["clips"] == len(clips)

    rule = ("--set", f"classifier={trained['id']}", "--set", "curate.rules.quality=classifier")
    explained = genieset("curate", config, *rule, "--explain")
    assert [effect["rule"] for effect in explained["rules"]] == ["quality"]
    genieset("publish", config, *rule)
    assert precision(store, good) > before
