"""A video that kills its worker every time is set aside with what the worker said; the rest is built."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pipeline.attempts import attempt_journal
from pipeline.build import build
from pipeline.config import BuildConfig, load_config
from pipeline.engine.child import OneChild
from pipeline.opt_out import OptOut
from pipeline.sources.base import Fetched
from pipeline.sources.files import FilesSource
from shards.records import Video
from shards.store import Store
from tests.faults.books import faults_in

WriteBuild = Callable[..., Path]


class Poisoned(FilesSource):
    """Files, one of which is deadly to touch."""

    deadly: str
    by: int = signal.SIGABRT

    def fetch(self, video: Video, folder: Path, opt_out: OptOut | None = None) -> Fetched:
        if Path(video.url).name == self.deadly:
            sys.stderr.write(f"{self.deadly} bites\n")
            os.kill(os.getpid(), self.by)
        return super().fetch(video, folder)


class Heard:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        pass

    def note(self, message: str) -> None:
        self.notes.append(message)


def poisoned(config: BuildConfig, deadly: str, by: int = signal.SIGABRT) -> BuildConfig:
    (source,) = config.sources
    assert isinstance(source, FilesSource)
    return config.model_copy(update={"sources": (Poisoned(path=source.path, deadly=deadly, by=by),)})


def test_a_deadly_video_is_kept_apart_after_three_deaths_alone(
    write_build: WriteBuild, tmp_path: Path
) -> None:
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
    assert built.books.video(bitten).url.endswith("one.mp4")
    assert "exit code -6" in (built.books.state(bitten).detail or "")
    rows = attempt_journal(Store(str(dataset))).read().to_pylist()
    deaths = [row for row in rows if row["event"] == "died"]
    assert [(row["video_id"], row["log"]) for row in deaths] == [(bitten, "one.mp4 bites")] * 4
    assert [row["alone"] for row in deaths] == [False, True, True, True]
    assert [row["state"] for row in deaths] == ["pending"] * 3 + ["failed:crashed"]
    assert [note for note in heard.notes if note.startswith(f"{bitten}: failed:crashed")] == heard.notes
    begun = Counter(row["video_id"] for row in rows if row["event"] == "begin")
    assert begun.pop(bitten) == 4
    assert set(begun.values()) == {1}, "the innocent were tried once each"
    (kept_apart,) = (dataset / "quarantine").iterdir()
    told = json.loads(kept_apart.read_bytes())
    assert (told["video_id"], told["said_last"]) == (bitten, "one.mp4 bites")
    assert "exit code -6" in told["detail"]
    assert not list((dataset / "commits").glob(f"{bitten}-*"))
    assert sum(built.version.splits.values()) == 2
    assert faults_in(dataset) == []


def test_what_was_set_aside_is_ingested_once_the_poison_is_gone(
    write_build: WriteBuild, tmp_path: Path
) -> None:
    config = load_config(write_build(tmp_path / "set", "first"))
    build(poisoned(config, "one.mp4"), OneChild(), Heard())
    again = build(config, OneChild(), Heard())
    assert again.books.counts()["failed:crashed"] == 1, "what is kept apart is left alone until somebody asks"
    built = build(config, OneChild(), Heard(), retry=["crashed"])
    assert built.books.counts() == {"failed:unreadable": 1, "ingested": 2, "rejected:too_short": 1}
    assert built.version.number == 2
    assert sum(built.version.splits.values()) == 3
    assert faults_in(tmp_path / "set") == []


def test_what_is_killed_from_outside_is_borne_with_longer(write_build: WriteBuild, tmp_path: Path) -> None:
    config = poisoned(load_config(write_build(tmp_path / "set", "first")), "one.mp4", by=signal.SIGKILL)
    built = build(config, OneChild(), Heard())
    assert built.books.counts()["failed:crashed"] == 1
    rows = attempt_journal(Store(str(tmp_path / "set"))).read().to_pylist()
    assert [row["state"] for row in rows if row["event"] == "died"] == ["pending"] * 9 + ["failed:crashed"]
