"""The benchmark of the classifier, on a corpus far too small to learn from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.quality import GAMEPLAY, corpus_name, make_dataset
from filters.labels import read_labels
from pipeline.engine.choose import open_engine
from shards.errors import UserError
from tests.quiet import Quiet

GAMES = ("coinrun_hard_run", "jumper_bunny", "climber_tower_4x3")


@pytest.fixture
def games(tmp_path: Path) -> Path:
    for game in GAMES:
        shutil.copy(GAMEPLAY[0] / f"{game}.mp4", tmp_path)
    return tmp_path


@pytest.mark.long
def test_it_tells_both_contenders_and_both_controls(games: Path) -> None:
    command = [sys.executable, "-P", "-m", "genieset", "bench", "quality", games]
    command += ["--pieces", "8", "--epochs", "1"]
    done = subprocess.run([*map(str, command), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["videos"] == 3
    assert told["kinds"]["game"] == 12
    assert sum(told["kinds"].values()) == 24
    for contenders in (told["auc"], told["shuffled"]):
        assert contenders.keys() == {"scores", "resnet18"}
        assert all(0 <= area["value"] <= 1 for area in contenders.values())
    with open_engine(1) as engine:
        again = make_dataset([games], 8, 0, ("motion",), engine, Quiet())
        assert sum(row.label == 5 for row in read_labels(again.labels).rows) == 12


def test_a_corpus_is_named_by_all_that_it_is_made_of(games: Path) -> None:
    videos = sorted(games.glob("*.mp4"))
    names = {corpus_name(videos, 8, 0), corpus_name(videos, 4, 0), corpus_name(videos, 8, 1)}
    shutil.copy(GAMEPLAY[0] / "supertux_afk.mp4", games / "jumper_bunny.mp4")
    assert len(names | {corpus_name(videos, 8, 0)}) == 4


def test_too_few_videos_are_told(tmp_path: Path) -> None:
    with open_engine(1) as engine, pytest.raises(UserError, match="0 mp4 files; give one of each"):
        make_dataset([tmp_path], 8, 0, ("motion",), engine, Quiet())


def test_two_videos_of_one_name_are_told(games: Path) -> None:
    with open_engine(1) as engine, pytest.raises(UserError, match="have one name"):
        make_dataset([games, GAMEPLAY[0]], 8, 0, ("motion",), engine, Quiet())
