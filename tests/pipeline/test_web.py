"""yt-dlp, for real, against a site on loopback."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from examples.site import Answer, Resource, VideoSite
from examples.site.serving import Handler
from pipeline.config import load_config
from pipeline.cut import cut
from pipeline.download import Visit, _common, _fetch_deadline_s, _one_line, download, list_videos
from pipeline.frame import FrameSettings
from pipeline.outcomes import Failed
from pipeline.probe import probe
from pipeline.sources.web import WebSource
from pipeline.ytdlp import child, network
from shards.errors import SettingError, UserError
from shards.keys import url_video_id
from shards.records import Video

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
    assert child.site_and_id(url) == known


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
    assert network.is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1", "0.0.0.0"),
        *("::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
        *("::ffff:10.0.0.1", "::10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1"),
    ],
)
def test_an_address_of_this_network_is_not_public_in_any_disguise(address: str) -> None:
    assert not network.is_public(address)


def test_a_proxy_of_the_environment_may_be_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)  # to be put back
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")
    network.refuse_private_addresses(None)
    assert socket.getaddrinfo("127.0.0.1", 3128)
    with pytest.raises(network.PrivateAddressError):
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
    with child.yt_dlp.YoutubeDL(dict(child._OPTIONS)) as ydl:
        assert not ydl._js_runtimes


def test_limits_neither_forget_candidates_nor_go_unnoticed() -> None:
    base = WebSource(urls=("http://a/",))
    more = WebSource(urls=("http://a/",), max_videos=999, min_height_px=360, allow_private=True)
    assert base.hash == more.hash != WebSource(urls=("http://b/",)).hash
    assert json.dumps([base.shaping, more.shaping]) == '[{}, {"min_height_px": 360}]'


def with_requests_kept(headers: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Note the headers of what the site is asked."""
    answer = Handler._answer

    def noting(handler: Handler, *, with_body: bool) -> None:
        headers.append({name.lower(): value for name, value in handler.headers.items()})
        answer(handler, with_body=with_body)

    monkeypatch.setattr(Handler, "_answer", noting)


def test_cookies_proxy_and_user_agent_reach_the_site(
    site: VideoSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("TEST_PROXY", site.url)
    headers: list[dict[str, str]] = []
    with_requests_kept(headers, monkeypatch)
    jar = tmp_path / "cookies.txt"
    line = "videos.invalid\tFALSE\t/\tFALSE\t0\tsession\tsecret\n"
    jar.write_text(f"# Netscape HTTP Cookie File\n{line}")
    # The site is its own proxy, so a host that does not exist is answered, and a private one let through.
    source = WebSource(
        urls=(f"http://videos.invalid/watch/{STEM}",),
        cookies=str(jar),
        proxy="${TEST_PROXY}",
        user_agent="Genieset test",
    )
    source.check()
    (found,) = source.discover(pytest.fail)
    assert found.video.title
    assert {(h["host"], h["user-agent"], h.get("cookie")) for h in headers} == {
        ("videos.invalid", "Genieset test", "session=secret")
    }
    assert jar.read_text().endswith(line), "the file is the user's and stays as it was"


def test_secrets_are_neither_printed_nor_kept_nor_hashed(tmp_path: Path) -> None:
    plain = WebSource(urls=("http://127.0.0.1:9/",), allow_private=True)
    secret = WebSource(
        urls=("http://127.0.0.1:9/",),
        allow_private=True,
        proxy="http://user:hunter2@127.0.0.1:9",
        cookies=str(tmp_path / "jar"),
    )
    for shown in (repr(secret), str(secret), secret.model_dump_json()):
        assert "hunter2" not in shown
        assert "jar" not in shown
    assert (secret.hash, secret.shaping) == (plain.hash, plain.shaping)
    assert WebSource.model_validate_json(secret.model_dump_json()) == plain
    assert pickle.loads(pickle.dumps(secret)) == secret
    with pytest.raises(SettingError, match=r"^cookies: there is no such file, or it cannot be read$"):
        secret.check()
    problems: list[str] = []
    assert not list(secret.model_copy(update={"cookies": None}).discover(problems.append))
    (problem,) = problems
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"proxy": "user:hunter2@host"}, "is not a proxy's URL; it must be as http://host:3128"),
        ({"proxy": "${NO_SUCH_VARIABLE}"}, "the environment variable NO_SUCH_VARIABLE is not set"),
        ({"user_agent": "two\nlines"}, "user_agent: is 'two"),
        ({"subtitles": ["en.*"]}, "subtitles.0: is 'en.*'"),
        ({"metadata": "all"}, "metadata: is 'all'; should be 'listing' or 'page'"),
    ],
)
def test_wrong_settings_are_told_without_secrets(
    write_config: Callable[..., Path], settings: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_config(write_config([{"kind": "web", "urls": ["http://a/"], **settings}]))
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_pages_are_read_once_for_each_new_video(site: VideoSite) -> None:
    source = WebSource(feeds=(site.feed_url,), allow_private=True, metadata="page")
    before = len(site.requests)
    found = {f.video.video_id: f for f in source.discover(pytest.fail)}
    pages = [r.path for r in site.requests[before:] if r.path.startswith("/watch/")]
    assert sorted(pages) == sorted(f"/watch/{stem}" for stem in (STEM, "slides_lecture"))
    info = {json.loads(f.info or "{}").get("id"): json.loads(f.info or "{}") for f in found.values()}
    assert info["slides_lecture"]["tags"] == ["lecture"], "which no feed says"
    before = len(site.requests)
    again = list(source.discover(pytest.fail, known=found.keys()))
    assert {f.video.video_id for f in again} == found.keys()
    assert [r.path for r in site.requests[before:]] == ["/feed.rss"]


def test_a_page_that_cannot_be_read_now_is_left_to_the_next_time(site: VideoSite) -> None:
    source = WebSource(feeds=(site.feed_url,), allow_private=True, metadata="page")
    site.fail(f"/watch/{STEM}", [Answer(500)])
    problems: list[str] = []
    (found,) = source.discover(problems.append)
    assert found.video.url == site.page_url("slides_lecture")
    assert [problem.split(": left")[0] for problem in problems] == [site.page_url(STEM)]
    site.fail(f"/watch/{STEM}", [Answer(404)])
    assert len(list(source.discover(problems.append))) == 2, "one that is gone is as the feed tells it"
    site.fail(f"/watch/{STEM}", [Answer(429, "1")])
    site.fail("/watch/slides_lecture", [Answer(429, "1")])
    before = len(site.requests)
    assert not list(source.discover(problems.append))
    assert len(site.requests) - before == 2, "a site that asks to be left alone is asked for no other page"


@pytest.mark.parametrize(
    ("video_id", "url", "site"),
    [
        ("youtube-dQw4w9WgXcQ", "https://youtu.be/dQw4w9WgXcQ", "youtube"),
        ("vimeo-123", "https://vimeo.com/123", "vimeo"),
        (url_video_id("http://127.0.0.1:87/a"), "http://127.0.0.1:87/a", "127.0.0.1"),
        (url_video_id("http://Example.org/a-b"), "http://Example.org/a-b", "example.org"),
        (url_video_id("http://["), "http://[", "url"),
    ],
)
def test_a_video_s_site_is_its_extractor_or_its_host(video_id: str, url: str, site: str) -> None:
    assert WebSource(urls=("http://a/",)).site(Video(video_id, "web", url)) == site


YOUTUBE = [
    {"search": ("2d platformer",)},
    {"urls": ("https://youtu.be/x",)},
    {"feeds": ("https://m.youtube.com/f",)},
]


@pytest.mark.parametrize("settings", YOUTUBE, ids=str)
@pytest.mark.parametrize("package", ["deno", "yt_dlp_ejs"])
def test_without_its_extra_youtube_is_refused_before_a_run(
    settings: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python's own way of saying that a package is not there.
    monkeypatch.setitem(sys.modules, package, None)
    (key,) = settings
    with pytest.raises(SettingError, match=rf"^{key}: YouTube needs .*\.\[youtube\]") as caught:
        WebSource(**settings).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", YOUTUBE, ids=str)
def test_with_its_extra_youtube_has_a_runtime_and_no_other_site_has(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    WebSource(**settings).check()
    job = _common(Visit(), "https://youtu.be/x", tmp_path)
    with child.yt_dlp.YoutubeDL(child._options(job)) as ydl:
        assert ydl._js_runtimes["deno"].info.supported
    assert _common(Visit(), "https://example.org/", tmp_path)["js_runtime"] is None


def test_other_sites_need_no_extra() -> None:
    WebSource(urls=("https://notyoutube.com/", "https://vimeo.com/1"), search=("scsearch5:x",)).check()


def test_a_site_that_refuses_one_search_is_not_asked_for_the_next(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "not_gameplay" / f"{STEM}.mp4", tmp_path)
    with VideoSite(tmp_path) as running:
        running.fail("/feed.rss", [Answer(429, "3600")] * 9)
        source = WebSource(urls=(running.feed_url,), feeds=(f"{running.url}/other.rss",), allow_private=True)
        problems: list[str] = []
        assert list(source.discover(problems.append)) == []
        assert problems[1:] == [f"{running.url}/other.rss: not asked; 127.0.0.1 wants to be left alone"]
        assert {request.path for request in running.requests} == {"/feed.rss"}
