"""A site on which things go wrong: the dataset is the same as from one on which nothing does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.site import Answer, Cut, Fault, Request, Stall, VideoSite
from pipeline.build import Built, build
from pipeline.config import BuildConfig
from pipeline.engine.child import OneChild
from shards.names import every_object, is_ours
from shards.store import Store
from tests.faults.books import contents, faults_in

EXAMPLES = Path(__file__).parents[2] / "examples" / "not_gameplay"
PAGE, MEDIA = "/watch/cartoon_bunny_loop", "/media/cartoon_bunny_loop.mp4"
OTHER_PAGE = "/watch/slides_lecture"


class Heard:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def step(self, stage: str, done: int, total: int, what: str) -> None: ...

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def site() -> Iterator[VideoSite]:
    with VideoSite(EXAMPLES, hls=["slides_lecture"]) as running:
        yield running


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The site is next door: what takes a second will not come."""
    monkeypatch.setenv("GENIESET_STALL_S", "1")
    monkeypatch.setattr("pipeline.runner._BACKOFF_S", 0.01)


def config(site: VideoSite, dataset: Path, **blocks: Any) -> BuildConfig:
    return BuildConfig.model_validate(
        {
            "dataset": str(dataset),
            "sources": [{"kind": "web", "feeds": [site.feed_url], "allow_private": True}],
            "sites": {"127.0.0.1": {"videos_per_hour": 360_000, "requests_per_hour": 3_600_000}},
            **blocks,
        }
    )


def built(site: VideoSite, dataset: Path, **blocks: Any) -> Built:
    return build(config(site, dataset, **blocks), OneChild(), Heard())


@pytest.fixture(scope="module")
def expected(site: VideoSite, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the dataset holds when nothing goes wrong."""
    dataset = tmp_path_factory.mktemp("undisturbed") / "set"
    assert built(site, dataset).books.counts() == {"ingested": 2}
    assert faults_in(dataset) == []
    assert [name for name in every_object(Store(dataset)) if not is_ours(name)] == []
    return contents(dataset)


def asked(site: VideoSite, before: int, path: str) -> list[Request]:
    return [request for request in site.requests[before:] if request.path == path]


@pytest.mark.parametrize(
    ("of_a_video", "of_the_other_s_page"),
    [
        pytest.param([Cut(300_000)], [Stall()], id="a connection is cut midway; a page stalls for ever"),
        pytest.param(
            [Cut(200_000), Cut(100_000), Cut(50_000)],
            [Answer(429, "1")],
            id="cut again and again; 429, come back in a second",
        ),
        pytest.param(
            [Cut(300_000, reset=False)],
            [Answer(503, "1")],
            id="a body is shorter than its length; 503, come back in a second",
        ),
        pytest.param([Stall(100_000)], [Answer(403)], id="a body stalls for ever; 403, once"),
        pytest.param(
            [Answer(429, "1")], [Answer(500), Answer(502)], id="429, come back in a second; 500 and 502"
        ),
    ],
)
def test_the_same_bytes_whatever_goes_wrong_on_the_way(
    site: VideoSite,
    expected: dict[str, str],
    tmp_path: Path,
    of_a_video: list[Fault],
    of_the_other_s_page: list[Fault],
) -> None:
    site.fail(MEDIA, of_a_video)
    site.fail(OTHER_PAGE, of_the_other_s_page)
    before = len(site.requests)
    assert built(site, tmp_path / "set").books.counts() == {"ingested": 2}
    assert contents(tmp_path / "set") == expected
    assert len(asked(site, before, MEDIA)) > len(of_a_video)
    assert len(asked(site, before, OTHER_PAGE)) > len(of_the_other_s_page)


def test_a_site_is_left_alone_as_long_as_it_asks_also_by_the_next_run(
    site: VideoSite, tmp_path: Path
) -> None:
    site.fail(PAGE, [Answer(429, "36000")])
    first = built(site, tmp_path / "set")
    assert first.books.counts()["ingested"] == 1
    before = len(site.requests)
    again = built(site, tmp_path / "set")
    assert again.books.counts() == first.books.counts()
    assert site.requests[before:] == ()
    assert again.problems == (f"{site.feed_url}: not asked; 127.0.0.1 wants to be left alone",)


def test_a_site_that_refuses_is_not_asked_on_and_on(site: VideoSite, tmp_path: Path) -> None:
    site.fail(PAGE, [Answer(403)] * 50)
    before = len(site.requests)
    counts = built(site, tmp_path / "set").books.counts()
    assert counts == {"failed:throttled": 1, "ingested": 1}
    refused = len(asked(site, before, PAGE))
    assert refused <= 3
    site.fail(PAGE, [])
