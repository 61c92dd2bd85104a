"""What goes wrong on real sites, and how a fetch ends there: in the same bytes, or in a class and a line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.site import Answer, Cut, Fault, Stall, VideoSite
from pipeline.download import STALL_VARIABLE
from pipeline.opt_out import OptOut
from pipeline.outcomes import Failed, Rejected
from pipeline.sources.base import Fetched
from pipeline.sources.web import WebSource
from pipeline.ytdlp.failures import retry_after_s
from shards.records import Video

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "not_gameplay"
STEM = "cartoon_bunny_loop"
STREAM = "slides_lecture"
PAGE = f"/watch/{STEM}"
MEDIA = f"/media/{STEM}.mp4"
WHOLE = (EXAMPLES / f"{STEM}.mp4").read_bytes()
TRIES = 4
NOBODY = OptOut()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    for stem in (STEM, STREAM):
        (folder / f"{stem}.en.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n")
    return folder


@pytest.fixture
def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VideoSite]:
    monkeypatch.setenv(STALL_VARIABLE, "1")
    with VideoSite(folder, hls=[STREAM]) as running:
        yield running


def fetch(
    site: VideoSite, folder: Path, stem: str = STEM, opt_out: OptOut = NOBODY, **more: object
) -> Fetched:
    source = WebSource(urls=(site.page_url(stem),), allow_private=True, **more)
    return source.fetch(Video("x-1", "web", site.page_url(stem)), folder, opt_out)


def failed(site: VideoSite, folder: Path, path: str, faults: list[Fault], stem: str = STEM) -> Failed:
    url = site.page_url(stem)
    source = WebSource(urls=(url,), allow_private=True)
    site.fail(path, faults)
    with pytest.raises(Failed) as raised:
        source.fetch(Video("x-1", "web", url), folder)
    return raised.value


@pytest.mark.parametrize(
    "faults",
    [
        [Cut(300_000)],
        [Cut(300_000, reset=False)],
        [Cut(0), Cut(1000, reset=False), Cut(300_000)],
        [Stall(300_000)],
        [Stall()],
        [Answer(503), Answer(500)],
    ],
    ids=str,
)
def test_what_passes_while_a_body_comes_ends_in_the_same_bytes(
    site: VideoSite, tmp_path: Path, faults: list[Fault]
) -> None:
    site.fail(MEDIA, faults)
    assert fetch(site, tmp_path).path.read_bytes() == WHOLE


@pytest.fixture(scope="module")
def whole_stream(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with VideoSite(folder, hls=[STREAM]) as running:
        return fetch(running, tmp_path_factory.mktemp("whole"), STREAM).path.read_bytes()


@pytest.mark.parametrize("fault", [Cut(1000), Cut(1000, reset=False), Stall(1000)], ids=str)
def test_a_stream_s_segment_that_breaks_off_is_asked_for_again(
    site: VideoSite, whole_stream: bytes, tmp_path: Path, fault: Fault
) -> None:
    site.fail(f"/hls/{STREAM}/00000.ts", [fault])
    assert fetch(site, tmp_path, STREAM).path.read_bytes() == whole_stream


@pytest.mark.parametrize(
    ("path", "faults", "failure", "passing"),
    [
        (PAGE, [Answer(404)], "unavailable", False),
        (PAGE, [Answer(410)], "unavailable", False),
        (PAGE, [Answer(500)], "unavailable", True),
        (PAGE, [Answer(403)], "throttled", True),
        (PAGE, [Cut(20)], "unavailable", True),
        (PAGE, [Stall(20)], "timeout", True),
        (MEDIA, [Answer(404)] * TRIES, "unavailable", False),
        (MEDIA, [Answer(403)] * TRIES, "throttled", True),
        (MEDIA, [Answer(502)] * TRIES, "unavailable", True),
        (MEDIA, [Cut(1000)] * TRIES, "unavailable", True),
        (MEDIA, [Cut(1000, reset=False)] * TRIES, "unavailable", True),
        (MEDIA, [Stall(1000)] * TRIES, "timeout", True),
    ],
    ids=str,
)
def test_what_does_not_pass_is_a_class_and_a_line(
    site: VideoSite, tmp_path: Path, path: str, faults: list[Fault], failure: str, passing: bool
) -> None:
    failed_so = failed(site, tmp_path, path, faults)
    assert (failed_so.failure, failed_so.passing, failed_so.retry_after_s) == (failure, passing, None)
    assert failed_so.detail.isprintable()
    assert failed_so.requests == len(site.requests)


@pytest.mark.parametrize("path", [PAGE, MEDIA])
@pytest.mark.parametrize(
    ("fault", "told_s"),
    [(Answer(429, "7"), 7), (Answer(503, "7"), 7), (Answer(429), 0), (Answer(429, "soon"), 0)],
)
def test_a_site_that_asks_to_be_left_alone_is_not_asked_again(
    site: VideoSite, tmp_path: Path, path: str, fault: Answer, told_s: float
) -> None:
    asked = failed(site, tmp_path, path, [fault] * TRIES)
    assert (asked.failure, asked.passing, asked.retry_after_s) == ("throttled", True, told_s)
    assert [request.status for request in site.requests if request.path == path][-1] == fault.status
    assert sum(request.status == fault.status for request in site.requests) == 1


def test_a_download_goes_on_where_another_process_left_it(site: VideoSite, tmp_path: Path) -> None:
    assert failed(site, tmp_path, MEDIA, [Cut(100_000), Answer(429)]).failure == "throttled"
    (part,) = tmp_path.glob("*.part")
    kept = part.stat().st_size
    before = len(site.requests)
    assert fetch(site, tmp_path).path.read_bytes() == WHOLE
    ranges = [r.range for r in site.requests[before:] if r.path == MEDIA and r.range]
    assert 0 < kept <= 100_000
    assert ranges[0] == f"bytes={kept}-"


def test_subtitles_and_page_are_kept_and_are_the_same_every_time(site: VideoSite, tmp_path: Path) -> None:
    first = fetch(site, tmp_path / "1", STREAM, subtitles=("en", "de"))
    again = fetch(site, tmp_path / "2", STREAM, subtitles=("en", "de"))
    assert first.beside == again.beside
    assert sorted(first.beside) == ["en.vtt", "info.json"]
    assert b"Hello" in first.beside["en.vtt"]
    info = json.loads(first.beside["info.json"])
    assert info["title"] == first.video.title
    assert not {"url", "formats", "http_headers", "epoch", "view_count"} & info.keys()
    assert sorted(fetch(site, tmp_path / "3", STREAM).beside) == ["info.json"]


def test_a_video_is_had_without_its_subtitles_if_they_are_gone(site: VideoSite, tmp_path: Path) -> None:
    site.fail(f"/hls/{STREAM}/en.vtt", [Answer(404)] * TRIES)
    site.fail(f"/hls/{STREAM}/en.m3u8", [Answer(404)] * TRIES)
    fetched = fetch(site, tmp_path, STREAM, subtitles=("en",))
    assert sorted(fetched.beside) == ["info.json"]
    assert fetched.path.stat().st_size > 100_000


def test_requests_are_counted_and_a_stream_is_one(site: VideoSite, tmp_path: Path) -> None:
    source = WebSource(urls=(site.page_url(STEM),), allow_private=True)
    (found,) = source.discover(pytest.fail)
    before = len(site.requests)
    assert source.fetch(found.video, tmp_path).requests == len(site.requests) - before
    assert fetch(site, tmp_path / "stream", STREAM).requests <= 5


def test_the_page_s_own_id_opts_out_before_the_video_is_asked_for(site: VideoSite, tmp_path: Path) -> None:
    with pytest.raises(Rejected) as rejected:
        fetch(site, tmp_path, opt_out=OptOut((STEM,)))
    assert (rejected.value.state, rejected.value.detail) == ("rejected:opt_out", STEM)
    assert rejected.value.requests
    assert not [request for request in site.requests if request.path == MEDIA and request.method == "GET"]


def test_faults_come_from_a_file_where_the_site_is_another_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STALL_VARIABLE, "1")
    faults = tmp_path / "faults.json"
    faults.write_text(
        json.dumps(
            {PAGE: [{"answer": {"status": 429, "retry_after": "9"}}], MEDIA: [{"cut": {"after_bytes": 9}}]}
        )
    )
    command = [
        sys.executable,
        "-m",
        "examples.site",
        "--folder",
        str(folder),
        "--port",
        "0",
        "--faults",
        str(faults),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        url = process.stdout.readline().split()[0]
        source = WebSource(urls=(url + PAGE,), allow_private=True)
        video = Video("x-1", "web", url + PAGE)
        with pytest.raises(Failed) as asked:
            source.fetch(video, tmp_path)
        assert asked.value.retry_after_s == 9
        assert source.fetch(video, tmp_path).path.read_bytes() == WHOLE
        process.terminate()


NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@given(st.integers(-10_000, 10_000_000))
def test_a_time_to_come_again_is_seconds_or_a_date(after_s: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=after_s), usegmt=True)
    assert retry_after_s(date, NOW) == max(0, after_s)
    assert retry_after_s(str(after_s), NOW) == (after_s if after_s >= 0 else None)


@given(st.text() | st.none())
def test_no_header_breaks_the_reading_of_it(header: str | None) -> None:
    told_s = retry_after_s(header, NOW)
    assert told_s is None or told_s >= 0
