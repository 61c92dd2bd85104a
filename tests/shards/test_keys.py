from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.keys import MAX_VIDEO_ID_CHARS, clip_key, parse_key, site_video_id, split_of, url_video_id

VIDEO_IDS = st.from_regex(rf"[A-Za-z0-9_-]{{1,{MAX_VIDEO_ID_CHARS}}}", fullmatch=True)


@given(VIDEO_IDS, st.integers(0, 10**10))
def test_a_key_leads_back_to_video_and_frame(video_id: str, frame: int) -> None:
    assert parse_key(clip_key(video_id, frame)) == (video_id, frame)


@given(VIDEO_IDS, st.integers(0, 10**8 - 1))
def test_a_member_name_fits_a_plain_tar_header_and_has_no_dot_before_its_suffix(
    video_id: str, frame: int
) -> None:
    key = clip_key(video_id, frame)
    assert "." not in key
    assert len(f"{key}.steps.npz") <= 100


@given(st.text(), st.text())
def test_whatever_a_site_calls_a_video_its_id_can_be_part_of_a_key(site: str, site_id: str) -> None:
    clip_key(site_video_id(site, site_id), 0)


@pytest.mark.parametrize("url", ["http://[::1", "https://exämple.org/ä?v=1", "", "http://h/" + "x" * 5000])
def test_any_url_gives_an_id_or_says_that_it_is_none(url: str) -> None:
    clip_key(url_video_id(url), 0)


def test_a_fragment_is_no_other_page() -> None:
    assert url_video_id("https://host/watch?v=1#t=30") == url_video_id("https://host/watch?v=1")
    assert url_video_id("https://host/watch?v=1") != url_video_id("https://host/watch?v=2")


@pytest.mark.parametrize("video_id", ["", "a.b", "a/b", "ä", "x" * (MAX_VIDEO_ID_CHARS + 1)])
def test_what_cannot_be_a_key_is_refused(video_id: str) -> None:
    with pytest.raises(ValueError, match="not a video id"):
        clip_key(video_id, 0)


@given(st.lists(VIDEO_IDS, min_size=1))
def test_a_split_depends_on_the_video_alone_and_more_training_takes_nothing_from_it(ids: list[str]) -> None:
    for video_id in ids:
        if split_of(video_id, {"train": 0.5, "val": 0.5}) == "train":
            assert split_of(video_id, {"train": 0.8, "val": 0.2}) == "train"


def test_shares_are_met() -> None:
    chosen = [split_of(f"file-{number}", {"train": 0.9, "val": 0.1}) for number in range(5000)]
    assert 0.88 < chosen.count("train") / 5000 < 0.92


@given(VIDEO_IDS)
def test_the_order_of_shares_is_of_no_account(video_id: str) -> None:
    assert split_of(video_id, {"train": 0.5, "val": 0.5}) == split_of(video_id, {"val": 0.5, "train": 0.5})
