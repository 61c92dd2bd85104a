"""Build, label on the page, train, apply, curate, publish: what is kept afterwards is better."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser

from bench.corpus import make_corpus
from shards.codec import CLIP_FRAMES
from shards.index import read_index
from shards.keys import clip_key, file_video_id
from shards.manifest import read_version
from shards.store import Store
from tests.faults.commands import genieset
from tests.faults.processes import wait_until
from tests.labelling.conftest import Served
from tests.labelling.test_page import browser, opened, press, shown, wait_until_stored  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[2]
GAMES = ("coinrun_hard_run", "jumper_bunny", "miner_dig_4x3", "caveflyer_60fps")
PIECES = 6


def told(*arguments: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "genieset", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, bool]:
    """Key -> whether the clip shows the game alone."""
    games = [ROOT / "examples" / "gameplay" / f"{name}.mp4" for name in GAMES]
    footage = sorted((ROOT / "bench" / "footage").glob("*.mp4"))
    good = {}
    for video in make_corpus(games, footage, tmp_path / "videos", PIECES, seed=0):
        video_id = file_video_id(hashlib.sha256(video.path.read_bytes()).hexdigest())
        for place, piece in enumerate(video.pieces):
            good[clip_key(video_id, CLIP_FRAMES * place)] = piece.kind == "game"
    return good


def precision(store: Store, good: dict[str, bool]) -> float:
    """Share of gameplay among the clips that the newest version published."""
    published = [
        placed.clip.key for shard in read_version(store).shards for placed in read_index(store, shard.name)
    ]
    assert published
    return sum(good[key] for key in published) / len(published)


@pytest.mark.timeout(900)
def test_the_whole_loop(browser: Browser, corpus: dict[str, bool], tmp_path: Path) -> None:  # noqa: F811
    dataset, config = tmp_path / "set", tmp_path / "loop.yaml"
    source = {"kind": "files", "path": str(tmp_path / "videos")}
    config.write_text(yaml.safe_dump({"dataset": str(dataset), "sources": [source]}))
    told("build", config)
    store = Store(str(dataset))
    before = precision(store, corpus)
    assert before == 0.5

    options = ("--port", "0", "--labeller", "ann", "--clips", "1000")
    with genieset("label", str(dataset), *options, scratch=tmp_path / "scratch") as process:
        assert process.stdout
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address
        page = opened(browser.new_context(), address[0])
        for _ in corpus:
            wait_until(lambda: shown(page) is not None, "a clip")
            press(page, "5" if corpus[shown(page) or ""] else "1")
        wait_until_stored(page)
        assert f"{len(corpus)} labels" in Served(process, address[0]).stop()
    labels = dataset / "labels" / "labels.jsonl"
    assert len(labels.read_text().splitlines()) == len(corpus)

    trained = told(
        *("classifier", "train", dataset, "--labels", labels),
        *("--frames", "2", "--epochs", "5", "--folds", "3", "--keep-share", "0.4"),
    )
    applied = told("classifier", "apply", dataset, trained["id"])
    assert applied["clips"] == len(corpus)

    rule = ("--set", f"classifier={trained['id']}", "--set", "curate.rules.quality=classifier")
    explained = told("curate", config, *rule, "--explain")
    assert [effect["rule"] for effect in explained["rules"]] == ["quality"]
    told("publish", config, *rule)
    assert precision(store, corpus) > before
