"""The real yt-dlp against the example site: what a build relies on when it fetches from the web."""

import hashlib
import http.client
import json
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import pytest
import yt_dlp

from examples.site import VideoSite

EXAMPLES = Path(__file__).parents[2] / "examples"
VIDEOS = sorted(EXAMPLES.rglob("*.mp4"))
STREAMED = "cartoon_bunny_loop"
STREAMED_WITH_CAPTIONS = "coinrun_hard_run"
PLAIN = "jumper_bunny"
HOSTILE_TITLE = """<script>alert("1")</script> & 'Tux' ]]> 100% ünï"""


@pytest.fixture(scope="module")
def site() -> Iterator[VideoSite]:
    with VideoSite(EXAMPLES, hls=[STREAMED, STREAMED_WITH_CAPTIONS]) as running:
        yield running


def extract(url: str, *, download_to: Path | None = None, **options: Any) -> dict[str, Any]:
    """Run yt-dlp the way a build does: one video stream, native downloaders, no fix-ups."""
    settings = {
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "cachedir": False,
        "proxy": "",
        "format": "wv*[height>=?144]/bv*/b",
        "fixup": "never",
        "hls_prefer_native": True,
        "outtmpl": f"{download_to}/video.%(ext)s",
        **options,
    }
    with yt_dlp.YoutubeDL(settings) as downloader:
        info = downloader.extract_info(url, download=download_to is not None)
        return {**info, "entries": list(info.get("entries", ()))}


def get(site: VideoSite, path: str, method: str = "GET", **headers: str) -> tuple[Any, bytes]:
    connection = http.client.HTTPConnection(urlsplit(site.url).netloc)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def sidecar(stem: str) -> dict[str, Any]:
    (path,) = EXAMPLES.rglob(f"{stem}.info.json")
    return json.loads(path.read_text())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_flat_feed_tells_titles_and_pages_in_one_request(site: VideoSite) -> None:
    before = len(site.requests)
    feed = extract(site.feed_url, extract_flat="in_playlist")
    assert len(site.requests) == before + 1
    assert feed["_type"] == "playlist"
    assert feed["title"]
    told = {e["url"]: (e["title"], e["description"], e["duration"]) for e in feed["entries"]}
    infos = [sidecar(path.stem) for path in VIDEOS]
    assert told == {
        site.page_url(i["id"]): (i["title"], i["description"], round(i["duration"])) for i in infos
    }


@pytest.mark.parametrize("stem", [PLAIN, STREAMED, STREAMED_WITH_CAPTIONS])
def test_a_page_tells_all_that_yt_dlp_can_hear(site: VideoSite, stem: str) -> None:
    page, known = extract(site.page_url(stem)), sidecar(stem)
    same = ("id", "title", "description", "uploader", "duration", "upload_date", "tags")
    assert {key: page[key] for key in same} == {key: known[key] for key in same}
    assert (page["width"], page["height"]) == (known["width"], known["height"])
    assert (page["extractor_key"], page["webpage_url"]) == ("Generic", site.page_url(stem))


def test_every_page_of_the_feed_can_be_extracted(site: VideoSite) -> None:
    feed = extract(site.feed_url)
    assert [entry["id"] for entry in feed["entries"]] == [
        urlsplit(entry["webpage_url"]).path.removeprefix("/watch/") for entry in feed["entries"]
    ]
    assert {entry["id"] for entry in feed["entries"]} == {path.stem for path in VIDEOS}


def test_a_file_arrives_byte_for_byte(site: VideoSite, tmp_path: Path) -> None:
    extract(site.page_url(PLAIN), download_to=tmp_path)
    (original,) = EXAMPLES.rglob(f"{PLAIN}.mp4")
    assert sha256(tmp_path / "video.mp4") == sha256(original)


def test_a_broken_download_resumes_where_it_stopped(site: VideoSite, tmp_path: Path) -> None:
    (original,) = EXAMPLES.rglob(f"{PLAIN}.mp4")
    (tmp_path / "video.mp4.part").write_bytes(original.read_bytes()[:500_000])
    before = len(site.requests)
    extract(site.page_url(PLAIN), download_to=tmp_path)
    assert sha256(tmp_path / "video.mp4") == sha256(original)
    media = [r for r in site.requests[before:] if r.path.startswith("/media/")]
    assert [(r.range, r.status) for r in media] == [("bytes=500000-", 206)]


def test_a_stream_arrives_decodable_and_whole(site: VideoSite, tmp_path: Path) -> None:
    info = extract(site.page_url(STREAMED), download_to=tmp_path)
    assert info["protocol"] == "m3u8_native"
    with av.open(str(tmp_path / "video.mp4")) as container:
        assert container.format.name == "mpegts"
        frames = sum(1 for _ in container.decode(video=0))
    known = sidecar(STREAMED)
    assert frames == int(known["duration"] * known["fps"])


def test_captions_come_with_a_stream(site: VideoSite, tmp_path: Path) -> None:
    page = site.page_url(STREAMED_WITH_CAPTIONS)
    extract(page, download_to=tmp_path, writesubtitles=True, skip_download=True)
    (original,) = EXAMPLES.rglob(f"{STREAMED_WITH_CAPTIONS}.en.vtt")
    first_cue = original.read_text().split("\n\n")[1]
    assert first_cue in (tmp_path / "video.en.vtt").read_text()


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=100-199", 206, slice(100, 200)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-100", 206, slice(-100, None)),
        ("bytes=100-999999999", 206, slice(100, None)),
        ("bytes=999999999-", 416, slice(0, 0)),
        ("bytes=-0", 416, slice(0, 0)),
        ("bytes=9-5", 200, slice(None)),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
    ],
)
def test_byte_ranges(site: VideoSite, wanted: str, status: int, part: slice) -> None:
    (original,) = EXAMPLES.rglob("slides_lecture.mp4")
    whole = original.read_bytes()
    response, body = get(site, "/media/slides_lecture.mp4", Range=wanted)
    assert (response.status, body) == (status, whole[part])
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Content-Type"] == "video/mp4"
    first, stop, _ = part.indices(len(whole))
    expected = {
        200: None,
        206: f"bytes {first}-{stop - 1}/{len(whole)}",
        416: f"bytes */{len(whole)}",
    }
    assert response.headers["Content-Range"] == expected[status]
    assert site.requests[-1] == ("GET", "/media/slides_lecture.mp4", wanted, status)


def test_if_range_resumes_only_into_the_same_file(site: VideoSite) -> None:
    path = "/media/slides_lecture.mp4"
    head, body = get(site, path, "HEAD")
    size = int(head.headers["Content-Length"])
    assert (head.status, body) == (200, b"")
    same, _ = get(site, path, Range="bytes=9-", If_Range=head.headers["ETag"])
    other, whole = get(site, path, Range="bytes=9-", If_Range='"another"')
    assert (same.status, other.status, len(whole)) == (206, 200, size)


@pytest.mark.parametrize(
    "path",
    [
        "/media/../README.md",
        "/media/%2e%2e/%2e%2e/pyproject.toml",
        "/media//etc/passwd",
        "/watch/nothing",
        f"/media/{PLAIN}.info.json",
        f"/media/{STREAMED}.mp4",
    ],
)
def test_only_what_is_listed_is_served(site: VideoSite, path: str) -> None:
    response, _ = get(site, path)
    assert response.status == 404


def test_the_index_links_every_page(site: VideoSite) -> None:
    response, body = get(site, "/")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    links = set(re.findall(r'<li><a href="([^"]+)">', body.decode()))
    assert links == {site.page_url(path.stem) for path in VIDEOS}


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    (source,) = EXAMPLES.rglob("slides_lecture.mp4")
    stem = "a [b] c&d? 50%"
    shutil.copy(source, tmp_path / f"{stem}.mp4")
    words = {"title": HOSTILE_TITLE, "description": f"one\ntwo\x00 {HOSTILE_TITLE}"}
    (tmp_path / f"{stem}.info.json").write_text(json.dumps(words))
    with VideoSite(tmp_path) as site:
        feed = extract(site.feed_url, extract_flat="in_playlist")
        page = extract(feed["entries"][0]["url"], download_to=tmp_path / "out")
        for path in ("/", urlsplit(site.page_url(stem)).path):
            assert b"<script>alert" not in get(site, path)[1]
    expected = (HOSTILE_TITLE, f"one\ntwo {HOSTILE_TITLE}")
    assert (feed["entries"][0]["title"], feed["entries"][0]["description"]) == expected
    assert (page["title"], page["description"], page["id"]) == (*expected, stem)
    assert sha256(tmp_path / "out" / "video.mp4") == sha256(source)


def test_without_a_sidecar_the_stem_is_the_title_and_the_rest_unknown(tmp_path: Path) -> None:
    (source,) = EXAMPLES.rglob(f"{STREAMED}.mp4")
    for name in ("file.mp4", "deep/stream.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / name)
    with VideoSite(tmp_path, hls=["stream"]) as site:
        pages = [extract(site.page_url(stem)) for stem in ("file", "stream")]
    assert [page["title"] for page in pages] == ["file", "stream"]
    unknown = ("height", "fps", "uploader", "description", "upload_date")
    assert [page.get(key) for page in pages for key in unknown] == [None] * 2 * len(unknown)
    assert [page.get("duration") for page in pages] == [None, 26]  # a playlist tells whole seconds


def test_two_videos_cannot_share_an_address(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match="two videos are called 'same'"), VideoSite(tmp_path):
        pass


def test_a_stream_of_no_video_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="no such video to stream: nothing"),
        VideoSite(tmp_path, hls=["nothing"]),
    ):
        pass


def test_the_site_is_on_loopback_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with VideoSite(EXAMPLES, hls=[STREAMED]) as site:
        port = urlsplit(site.url).port
        assert list(tmp_path.iterdir())
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_the_examples_stay_small() -> None:
    files = [p for p in EXAMPLES.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(path.stat().st_size for path in files) <= 15_000_000


@pytest.mark.parametrize("video", VIDEOS, ids=lambda path: path.stem)
def test_every_video_says_what_it_is_and_whose(video: Path) -> None:
    info = sidecar(video.stem)
    assert info["id"] == video.stem
    assert info["title"]
    assert info["license"]
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert (info["width"], info["height"]) == (stream.width, stream.height)
        assert info["fps"] == stream.average_rate
        frames = stream.frames
    assert info["duration"] == pytest.approx(frames / info["fps"], abs=0.1)
    actions = video.with_suffix(".actions.json")
    if actions.exists():
        assert len(json.loads(actions.read_text())["actions"]) == frames


def test_the_readme_lists_every_video() -> None:
    rows = re.findall(r"^\| (\S+\.mp4) \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == [str(path.relative_to(EXAMPLES)) for path in VIDEOS]
