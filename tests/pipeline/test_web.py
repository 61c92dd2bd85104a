"""yt-dlp, for real, against a site on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from examples.site import VideoSite
from pipeline.cut import cut
from pipeline.download import download, list_videos
from pipeline.frame import FrameSettings
from pipeline.outcomes import Failed
from pipeline.probe import probe
from pipeline.sources.web import WebSource

EXAMPLES = Path(__file__).parents[2] / "examples"
STEM = "cartoon_bunny_loop"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VideoSite]:
    folder = tmp_path_factory.mktemp("site")
    for path in (EXAMPLES / "not_gameplay").iterdir():
        shutil.copy(path, folder)
    with VideoSite(folder, hls=["slides_lecture"]) as running:
        yield running


def fetch(site: VideoSite, stem: str, folder: Path) -> Path:
    path, _ = download(site.page_url(stem), folder, min_height_px=144, allow_private=True, duration_s=None)
    return path


def test_a_feed_a_page_and_both_name_the_same_video(site: VideoSite) -> None:
    both = WebSource(feeds=(site.feed_url,), urls=(site.page_url(STEM),), allow_private=True)
    problems: list[str] = []
    videos = list(both.discover(problems.append))
    assert not problems
    assert len(videos) == 3
    assert len({video.video_id for video in videos}) == 2
    listed, paged = (v for v in videos if v.url == site.page_url(STEM))
    assert (listed.title, listed.description) == (paged.title, paged.description)


def test_max_videos_is_a_limit(site: VideoSite) -> None:
    assert len(list_videos(site.feed_url, max_videos=1, allow_private=True)) == 1


def test_hls_is_downloaded_without_ffmpeg_and_can_be_cut(site: VideoSite, tmp_path: Path) -> None:
    path = fetch(site, "slides_lecture", tmp_path)
    clips = list(cut(path, probe(path), FrameSettings()))
    assert [clip.first_frame for clip in clips] == [0, 160, 320, 480]


def test_bytes_that_are_here_are_not_asked_for_again(site: VideoSite, tmp_path: Path) -> None:
    whole = (EXAMPLES / "not_gameplay" / f"{STEM}.mp4").read_bytes()
    (tmp_path / "source.mp4.part").write_bytes(whole[:400_000])
    before = len(site.requests)
    assert fetch(site, STEM, tmp_path).read_bytes() == whole
    ranges = [r.range for r in site.requests[before:] if r.path.startswith("/media/") and r.status == 206]
    assert "bytes=400000-" in ranges


@pytest.mark.parametrize("do", ["list", "fetch"])
def test_private_addresses_are_refused_unless_allowed(site: VideoSite, tmp_path: Path, do: str) -> None:
    before = len(site.requests)
    page = site.page_url(STEM)
    attempts = {
        "list": partial(list_videos, site.feed_url, max_videos=9, allow_private=False),
        "fetch": partial(download, page, tmp_path, min_height_px=144, allow_private=False, duration_s=None),
    }
    with pytest.raises(Failed) as failed:
        attempts[do]()
    assert failed.value.failure == "unsafe"
    assert "allow_private" in failed.value.detail
    assert len(site.requests) == before


def test_a_page_that_is_not_there_is_unavailable(site: VideoSite, tmp_path: Path) -> None:
    with pytest.raises(Failed) as failed:
        fetch(site, "no-such-video", tmp_path)
    assert failed.value.failure == "unavailable"
    assert "404" in failed.value.detail


def test_a_site_that_is_down_is_a_problem_of_that_url_alone(site: VideoSite) -> None:
    source = WebSource(feeds=("http://127.0.0.1:9/feed.rss", site.feed_url), allow_private=True)
    problems: list[str] = []
    assert len(list(source.discover(problems.append))) == 2
    (problem,) = problems
    assert problem.startswith("http://127.0.0.1:9/feed.rss: ")
    assert "\n" not in problem


def test_words_become_a_search_and_a_search_stays_one() -> None:
    source = WebSource(search=("2d platformer", "ytsearch5:celeste"), max_videos=7)
    assert [source._search_url(words) for words in source.search] == [
        "ytsearch7:2d platformer",
        "ytsearch5:celeste",
    ]
