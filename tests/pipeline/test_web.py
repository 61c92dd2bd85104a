"""yt-dlp, for real, against a site on loopback."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from examples.site import Resource, VideoSite
from pipeline import child_network, ytdlp_child
from pipeline.cut import cut
from pipeline.download import Visit, _fetch_deadline_s, _one_line, download, list_videos
from pipeline.frame import FrameSettings
from pipeline.outcomes import Failed
from pipeline.probe import probe
from pipeline.sources.web import WebSource

EXAMPLES = Path(__file__).parents[2] / "examples"
STEM = "cartoon_bunny_loop"
HERE = Visit(allow_private=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VideoSite]:
    folder = tmp_path_factory.mktemp("site")
    for path in (EXAMPLES / "not_gameplay").iterdir():
        shutil.copy(path, folder)
    with VideoSite(folder, hls=["slides_lecture"]) as running:
        yield running


def fetch(site: VideoSite, stem: str, folder: Path) -> Path:
    return download(site.page_url(stem), folder, HERE, min_height_px=144, duration_s=None).path


def test_a_feed_a_page_and_both_name_the_same_video(site: VideoSite) -> None:
    both = WebSource(feeds=(site.feed_url,), urls=(site.page_url(STEM),), allow_private=True)
    problems: list[str] = []
    videos = [found.video for found in both.discover(problems.append)]
    assert not problems
    assert len(videos) == 3
    assert len({video.video_id for video in videos}) == 2
    listed, paged = (v for v in videos if v.url == site.page_url(STEM))
    assert (listed.title, listed.description) == (paged.title, paged.description)


def test_max_videos_is_a_limit(site: VideoSite) -> None:
    assert len(list_videos(site.feed_url, HERE, max_videos=1)) == 1


def test_hls_is_downloaded_without_ffmpeg_and_can_be_cut(site: VideoSite, tmp_path: Path) -> None:
    path = fetch(site, "slides_lecture", tmp_path)
    clips = list(cut(path, probe(path), FrameSettings()))
    assert [clip.first_frame for clip in clips] == [0, 160, 320, 480]


def test_bytes_that_are_here_are_not_asked_for_again(site: VideoSite, tmp_path: Path) -> None:
    whole = (EXAMPLES / "not_gameplay" / f"{STEM}.mp4").read_bytes()
    named = fetch(site, STEM, tmp_path)
    assert re.fullmatch(r"source\.[\w.-]+\.mp4", named.name), "a rendition has a file of its own"
    named.with_name(named.name + ".part").write_bytes(whole[:400_000])
    named.unlink()
    before = len(site.requests)
    assert fetch(site, STEM, tmp_path).read_bytes() == whole
    ranges = [r.range for r in site.requests[before:] if r.path.startswith("/media/") and r.status == 206]
    assert "bytes=400000-" in ranges


@pytest.mark.parametrize("do", ["list", "fetch"])
def test_private_addresses_are_refused_unless_allowed(site: VideoSite, tmp_path: Path, do: str) -> None:
    before = len(site.requests)
    page = site.page_url(STEM)
    attempts = {
        "list": partial(list_videos, site.feed_url, Visit(), max_videos=9),
        "fetch": partial(download, page, tmp_path, Visit(), min_height_px=144, duration_s=None),
    }
    with pytest.raises(Failed) as failed:
        attempts[do]()
    assert failed.value.failure == "unavailable"
    assert failed.value.detail.endswith(" is a private address; allow_private permits it")
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


@pytest.mark.parametrize("stem", [STEM, "slides_lecture"])
def test_more_bytes_than_the_limit_are_refused(
    site: VideoSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: str
) -> None:
    monkeypatch.setattr("pipeline.download._MAX_BYTES", 100_000)
    with pytest.raises(Failed, match="larger than") as failed:
        fetch(site, stem, tmp_path)
    assert failed.value.failure == "unsafe"


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", {"site": "Youtube", "id": "dQw4w9WgXcQ"}),
        ("https://youtu.be/dQw4w9WgXcQ?si=x", {"site": "Youtube", "id": "dQw4w9WgXcQ"}),
        ("https://www.youtube.com/playlist?list=PLrAXtmRdnEQy6nuLMHjMZOz59Oq8HmPME", {}),
        ("https://example.org/a.mp4", {}),
        ("http://[", {}),
    ],
)
def test_a_url_alone_tells_the_id_that_its_site_gives(url: str, known: dict[str, str]) -> None:
    assert ytdlp_child.site_and_id(url) == known


def test_a_feed_item_has_the_id_of_its_site(site: VideoSite, tmp_path: Path) -> None:
    item = "<item><title>A video</title><link>https://youtu.be/dQw4w9WgXcQ</link></item>"
    feed = f"<rss version='2.0'><channel><title>A feed</title>{item}</channel></rss>"
    (tmp_path / "a.mp4").symlink_to(EXAMPLES / "not_gameplay" / f"{STEM}.mp4")
    with VideoSite(tmp_path) as running:
        running._server.resources["/feed.rss"] = Resource("application/rss+xml", feed.encode())
        (found,) = WebSource(feeds=(running.feed_url,), allow_private=True).discover(pytest.fail)
    assert found.video.video_id == "youtube-dQw4w9WgXcQ"


def test_an_address_that_is_no_text_is_told_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ["http://a/\ud800", "http://a/\x1b[2J", "http://a/b"]
    entries: list[dict[str, Any]] = [{"url": url, "id": None, "site": "Site"} for url in addresses]
    monkeypatch.setattr("pipeline.sources.web.list_videos", lambda *args, **kwargs: entries)
    problems: list[str] = []
    (found,) = WebSource(urls=("http://a/",)).discover(problems.append)
    assert found.video.url == "http://a/b"
    assert len(problems) == 2
    assert all(problem.isprintable() for problem in problems)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert child_network.is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1", "0.0.0.0"),
        *("::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
        *("::ffff:10.0.0.1", "::10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1"),
    ],
)
def test_an_address_of_this_network_is_not_public_in_any_disguise(address: str) -> None:
    assert not child_network.is_public(address)


def test_a_proxy_of_the_environment_may_be_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)  # to be put back
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")
    child_network.refuse_private_addresses(None)
    assert socket.getaddrinfo("127.0.0.1", 3128)
    with pytest.raises(child_network.PrivateAddressError):
        socket.getaddrinfo("127.0.0.1", 80)


def test_a_server_cannot_write_to_the_terminal_or_ask_for_days() -> None:
    told = _one_line("\x1b[0;31mERROR:\x1b[0m no\r\nsuch\x07 thing \u202e" + "x" * 999)
    assert told.startswith("ERROR: no such thing x")
    assert told.isprintable()
    assert len(told) == 300
    assert _fetch_deadline_s(1e9) == 2 * 24 * 3600
    assert _fetch_deadline_s(None) == 7200
    assert _fetch_deadline_s(1.0) == 600


def test_no_other_program_is_run() -> None:
    with ytdlp_child.yt_dlp.YoutubeDL(dict(ytdlp_child._OPTIONS)) as ydl:
        assert not ydl._js_runtimes


def test_limits_neither_forget_candidates_nor_go_unnoticed() -> None:
    base = WebSource(urls=("http://a/",))
    more = WebSource(urls=("http://a/",), max_videos=999, min_height_px=360, allow_private=True)
    assert base.hash == more.hash != WebSource(urls=("http://b/",)).hash
    assert json.dumps([base.shaping, more.shaping]) == '[{}, {"min_height_px": 360}]'
