"""A video that kills its worker every time is set aside with what the worker said; the rest is built."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.build import build
from pipeline.config import BuildConfig, load_config
from pipeline.engine.child import OneChild
from pipeline.sources.base import Fetched
from pipeline.sources.files import FilesSource
from shards.records import Video
from tests.faults.books import faults_in

WriteBuild = Callable[..., Path]


class Poisoned(FilesSource):
    """Files, one of which is deadly to touch."""

    deadly: str

    def fetch(self, video: Video, folder: Path) -> Fetched:
        if Path(video.url).name == self.deadly:
            sys.stderr.write(f"{self.deadly} bites\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fetch(video, folder)


class Heard:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        pass

    def note(self, message: str) -> None:
        self.notes.append(message)


def poisoned(config: BuildConfig, deadly: str) -> BuildConfig:
    (source,) = config.sources
    assert isinstance(source, FilesSource)
    return config.model_copy(update={"sources": (Poisoned(path=source.path, deadly=deadly),)})


def test_a_deadly_video_is_tried_three_times_and_set_aside(write_build: WriteBuild, tmp_path: Path) -> None:
    dataset = tmp_path / "set"
    heard = Heard()
    built = build(poisoned(load_config(write_build(dataset, "first")), "one.mp4"), OneChild(), heard)
    assert built.books.counts() == {
        "failed:crashed": 1,
        "failed:unreadable": 1,
        "ingested": 1,
        "rejected:too_short": 1,
    }
    (bitten,) = built.books.in_state("failed:crashed")
    assert built.books.videos[bitten].url.endswith("one.mp4")
    assert "exit code -9" in (built.books.states[bitten].detail or "")
    ends = [json.loads(path.read_bytes()) for path in (dataset / "attempts").glob(f"{bitten}-*.end.json")]
    assert [(end["state"], end["log"]) for end in ends] == [("failed:crashed", "one.mp4 bites")] * 3
    assert [note for note in heard.notes if note.startswith(f"{bitten}: failed:crashed")] == heard.notes
    begun = [path for path in (dataset / "attempts").iterdir() if not path.name.endswith(".end.json")]
    assert len(begun) == 3 + 3, "the innocent were tried once each"
    assert not list((dataset / "commits").glob(f"{bitten}-*"))
    assert sum(built.version.splits.values()) == 2
    assert faults_in(dataset) == []


def test_what_was_set_aside_is_ingested_once_the_poison_is_gone(
    write_build: WriteBuild, tmp_path: Path
) -> None:
    config = load_config(write_build(tmp_path / "set", "first"))
    build(poisoned(config, "one.mp4"), OneChild(), Heard())
    built = build(config, OneChild(), Heard())
    assert built.books.counts() == {"failed:unreadable": 1, "ingested": 2, "rejected:too_short": 1}
    assert built.version.number == 2
    assert sum(built.version.splits.values()) == 3
    assert faults_in(tmp_path / "set") == []
