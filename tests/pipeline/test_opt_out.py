from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.opt_out import OptOut, _fits, matching_entry
from shards.keys import site_video_id
from shards.records import CANDIDATE_SCHEMA, Video

VIDEO = Video(
    site_video_id("youtube", "dQw4w9WgXcQ"),
    "web",
    "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
    channel="A Channel",
    found_at=("https://feeds.example/f", "https://youtu.be/dQw4w9WgXcQ"),
)
INFO = {"id": "dQw4w9WgXcQ", "channel_id": "UC123", "uploader": "Somebody", "extractor_key": "Youtube"}


@pytest.mark.parametrize(
    ("entry", "matches"),
    [
        ("youtube-dQw4w9WgXcQ", True),
        ("dQw4w9WgXcQ", True),
        ("DQW4W9WGXCQ", False),
        ("dQw4w9WgXc", False),
        ("channel: a channel", True),
        ("Channel:A CHANNEL", True),
        ("channel: A", False),
        ("channel: uc123", True),
        ("channel: Somebody", True),
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", True),
        ("youtube.com/*", True),
        ("https://youtu.be/*", True),
        ("*dQw4w9*", True),
        ("https://www.youtube.com/watch", False),
        ("vimeo.com/*", False),
        ("*.youtube.com/*", False),
        ("www.youtube.com/*", True),
        ("HTTP://WWW.youtube.com/watch?v=*", True),
        ("youtube.com/redirect?to=https://*", False),
    ],
)
def test_an_entry_is_an_id_a_channel_or_a_url(entry: str, matches: bool) -> None:
    assert OptOut((entry,)).match(VIDEO, INFO) == (entry if matches else None)


def test_a_channel_s_id_is_known_to_the_info_alone() -> None:
    assert OptOut(("channel: UC123",)).match(VIDEO) is None


def test_a_table_is_judged_as_its_videos_are() -> None:
    other = Video("vimeo-1", "web", "https://vimeo.com/1")
    rows = [VIDEO.as_row(), other.as_row()]
    table = pa.Table.from_pylist(rows, schema=CANDIDATE_SCHEMA)
    with_info = table.append_column("info", pa.array([json.dumps(INFO), None]))
    entries = OptOut(("channel: UC123", "vimeo.com/*"))
    assert entries.match_table(with_info).to_pylist() == ["channel: UC123", "vimeo.com/*"]
    assert entries.match_table(table).to_pylist() == [None, "vimeo.com/*"]
    assert OptOut().match_table(table).to_pylist() == [None, None]


@pytest.mark.parametrize(
    "entry", ["youtube-dQw4w9WgXcQ", "dQw4w9WgXcQ", "channel: UC123", "https://www.youtube.com/watch?*"]
)
def test_a_page_is_judged_by_what_it_says_itself(entry: str) -> None:
    page = INFO | {"webpage_url": VIDEO.url, "channel": None}
    assert matching_entry((entry, "x"), page) == entry
    assert matching_entry(("x",), page) is None


def test_a_file_has_an_entry_a_line(tmp_path: Path) -> None:
    path = tmp_path / "opt-out.txt"
    path.write_text("# May\n\nyoutube-a  # by mail\nchannel: B #1\nhttps://c/#d*\n", encoding="utf-8")
    told = OptOut.model_validate(str(path))
    assert told.root == ("youtube-a", "channel: B", "https://c/#d*")
    assert OptOut.model_validate_json(told.model_dump_json()) == told


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValidationError, match=r"cannot be read .* give a text file in UTF-8"):
        OptOut.model_validate(str(tmp_path / "bytes"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("channel:", "'channel:' names nothing; give an id, `channel: NAME` or a URL"),
        ("https://*/*", "'https://*/*' names nothing; give an id, `channel: NAME` or a URL"),
        ("A Channel", "'A Channel' is no id, which has no spaces; a channel is `channel: A Channel`"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "opt-out.txt"
    path.write_text(f"# May\nyoutube-a\n{line}  # by mail\n", encoding="utf-8")
    for told, place in ((str(path), f"{str(path)!r}: line 3: "), ([line], "")):
        with pytest.raises(ValidationError) as caught:
            OptOut.model_validate(told)
        assert caught.value.errors()[0]["msg"] == f"Value error, {place}{said}"


def test_of_many_patterns_the_right_one_is_found() -> None:
    others = tuple(f"https://host{number}.example/{'x' * (number % 40)}*" for number in range(2000))
    entries = OptOut((*others, "youtube.com/@somebody/*", "youtube.com/*dQw4*"))
    assert entries.match(VIDEO) == "youtube.com/*dQw4*"
    assert entries.match(Video("x-1", "web", "http://www.host1999.example/" + "x" * 40)) == others[1999]
    assert entries.match(Video("x-1", "web", "https://host2000.example/")) is None


URLS = st.text("ab/*", max_size=6).filter(lambda url: url.strip("*/") and not url.isalpha())


@given(st.lists(URLS, max_size=6), st.text("ab/", max_size=8))
def test_all_patterns_are_held_against_a_url(entries: list[str], url: str) -> None:
    matched = OptOut(tuple(entries)).match(Video("x-1", "web", url))
    fitting = [entry for entry in entries if fnmatchcase(url, entry)]
    assert matched in fitting if fitting else matched is None


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_stars_are_as_in_a_shell(pattern: str, text: str) -> None:
    assert _fits(tuple(pattern.split("*")), text) == fnmatchcase(text, pattern)


def test_a_pattern_of_many_stars_is_no_trap() -> None:
    assert OptOut(("*a" * 5000 + "b",)).match(Video("x-1", "web", "a" * 20_000)) is None
