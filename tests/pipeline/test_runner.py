"""A run brings every unit to its end: tried again where that helps, and no oftener."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.build import UnitMaker, books_of, discover, ingest
from pipeline.config import BuildConfig
from pipeline.engine.child import OneChild
from pipeline.opt_out import OptOut
from pipeline.outcomes import Failed, Rejected
from pipeline.runner import Run
from pipeline.sources.base import Fetched
from pipeline.sources.files import FilesSource
from shards.errors import UserError
from shards.records import Video
from shards.store import Store

MakeVideo = Callable[..., Path]


PAGE_SAYS = "channel: the page's own"


class Moody(FilesSource):
    """Files that cannot always be had; how often each was asked for stands in a folder of notes."""

    notes: str
    failure: str = "unavailable"
    passing: bool = True
    fails: int = 0

    def fetch(self, video: Video, folder: Path, opt_out: OptOut | None = None) -> Fetched:
        note = Path(self.notes) / video.video_id
        asked = len(note.read_bytes()) if note.exists() else 0
        note.write_bytes(bytes(asked + 1))
        if asked < self.fails:
            raise Failed(self.failure, "not in the mood", passing=self.passing)
        if opt_out and PAGE_SAYS in opt_out.root:
            raise Rejected("opt_out", PAGE_SAYS)
        return super().fetch(video, folder)

    def site(self, video: Video) -> str | None:
        return "moody"


@dataclass
class Host:
    """Budgets that remember what they were asked, and say what they are told to."""

    waits_s: list[float] = field(default_factory=list)
    running: int = 0
    most: int = 0
    ended: list[str | None] = field(default_factory=list)

    def take(self, site: str, now_s: float) -> float:
        wait_s = self.waits_s.pop(0) if self.waits_s else 0.0
        if not wait_s:
            self.running += 1
            self.most = max(self.most, self.running)
        return wait_s

    def eta_s(self, waiting: Mapping[str, int], now_s: float) -> float:
        return 0.0

    def end(
        self, site: str, now_s: float, *, requests: int, failure: str | None, retry_after_s: float | None
    ) -> None:
        self.running -= 1
        self.ended.append(failure)


class Heard:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        if stage == "ingest":
            self.steps.append((done, total))

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def folder(make_video: MakeVideo, tmp_path: Path) -> Path:
    """Three videos of one clip each."""
    videos = tmp_path / "videos"
    videos.mkdir()
    (tmp_path / "notes").mkdir()
    for number in range(3):
        source = f"testsrc2=size=32x18:rate=10:duration={16.5 + number / 2}"
        (videos / f"{number}.mp4").write_bytes(make_video(f"moody{number}.mp4", source).read_bytes())
    return videos


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runner._BACKOFF_S", 0.01)


def moody(folder: Path, **settings: Any) -> BuildConfig:
    source = Moody(path=str(folder), notes=str(folder.parent / "notes"), **settings)
    config = BuildConfig.model_validate(
        {"dataset": str(folder.parent / "set"), "sources": [{"kind": "files", "path": str(folder)}]}
    )
    return config.model_copy(update={"sources": (source,)})


def run(
    config: BuildConfig, host: Host | None = None, retry: tuple[str, ...] = ()
) -> tuple[Counter[str], Heard]:
    """One run; how often each video was asked for, and what was told."""
    heard = Heard()
    discover(config, heard)
    owners = dict.fromkeys(books_of(config).rows["video_id"].to_pylist(), config.sources[0])
    Run(
        Store(config.dataset),
        config.settings_hash,
        books_of(config).waiting(retry),
        UnitMaker(config, owners),
        engine=OneChild(),
        budgets=host or Host(),
        progress=heard,
    ).bring_to_an_end()
    (source,) = config.sources
    assert isinstance(source, Moody)
    return Counter({note.name: len(note.read_bytes()) for note in Path(source.notes).iterdir()}), heard


def test_what_passes_is_tried_again_in_the_same_run(folder: Path) -> None:
    config = moody(folder, fails=2)
    asked, heard = run(config)
    assert set(asked.values()) == {3}
    assert books_of(config).counts() == {"ingested": 3}
    assert heard.notes == []
    assert heard.steps == [(1, 3), (2, 3), (3, 3)]


def test_what_does_not_pass_is_tried_three_times_and_again_by_the_next_run(folder: Path) -> None:
    config = moody(folder, fails=4)
    asked, heard = run(config)
    assert set(asked.values()) == {3}
    assert books_of(config).counts() == {"failed:unavailable": 3}
    assert len(heard.notes) == 3
    assert set(run(config)[0].values()) == {5}
    assert books_of(config).counts() == {"ingested": 3}


def test_what_is_gone_is_asked_for_once_and_then_by_name_only(folder: Path) -> None:
    config = moody(folder, fails=1, passing=False)
    assert set(run(config)[0].values()) == {1}
    assert set(run(config)[0].values()) == {1}
    assert set(run(config, retry=("unavailable",))[0].values()) == {2}
    assert books_of(config).counts() == {"ingested": 3}


def test_what_is_final_is_never_tried_again(folder: Path) -> None:
    config = moody(folder, fails=9, failure="unsafe")
    assert set(run(config)[0].values()) == {1}
    assert set(run(config, retry=("unavailable", "crashed"))[0].values()) == {1}
    assert books_of(config).counts() == {"failed:unsafe": 3}


def test_who_opted_out_is_never_asked_for(folder: Path) -> None:
    config = moody(folder).model_copy(update={"opt_out": OptOut(("*/0.mp4", "*/2.mp4"))})
    asked, heard = run(config)
    assert list(asked.values()) == [1]
    assert books_of(config).counts() == {"ingested": 1, "rejected:opt_out": 2}
    assert heard.steps == [(1, 1)]


def test_who_opted_out_by_what_the_page_says_may_come_back(folder: Path) -> None:
    config = moody(folder).model_copy(update={"opt_out": OptOut((PAGE_SAYS,))})
    run(config)
    assert books_of(config).counts() == {"rejected:opt_out": 3}
    assert set(run(config)[0].values()) == {1}, "as long as the entry stands the page is not asked again"
    back = moody(folder)
    assert books_of(back).counts() == {"pending": 3}
    run(back)
    assert books_of(back).counts() == {"ingested": 3}
    assert books_of(config).counts() == {"ingested": 3}, "the page is not asked again for what is here"


def test_every_place_of_a_site_is_given_back(folder: Path) -> None:
    host = Host(waits_s=[0.01, 0.0, 0.01])
    run(moody(folder, fails=1), host)
    assert host.running == 0
    assert host.ended == ["unavailable"] * 3 + [None] * 3


def test_a_site_that_is_given_up_leaves_its_videos_pending(folder: Path) -> None:
    config = moody(folder)
    _, heard = run(config, Host(waits_s=[0.0, math.inf]))
    assert books_of(config).counts() == {"ingested": 1, "pending": 2}
    assert heard.notes == ["moody wants to be left alone: 2 videos wait for a later run"]


def test_a_video_that_is_not_known_is_one_line(folder: Path) -> None:
    config = moody(folder)
    discover(config, Heard())
    with pytest.raises(UserError, match="no video 'x-9'"):
        ingest(config, OneChild(), Heard(), only=["x-9"])
