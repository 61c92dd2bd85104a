from __future__ import annotations

import itertools
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import CurateSettings, MaxShare
from pipeline.curate import RuleEffect, hold_to_shares, share_effects
from pipeline.shares import most, over_share
from shards.errors import SettingError
from shards.records import CLIP_SCHEMA

SHARES = st.sampled_from([None, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.5, 0.9, 1.0])


def tables(sizes: list[int], channels: list[str | None]) -> tuple[pa.Table, pa.Table]:
    """Clips by video, so many of each; and the videos."""
    videos = [f"v{number}" for number in range(len(sizes))]
    video_id = [video for video, size in zip(videos, sizes, strict=True) for _ in range(size)]
    clips = pa.table(
        {
            "key": pa.array([f"{video}_{n:08d}" for n, video in enumerate(video_id)], pa.string()),
            "video_id": pa.array(video_id, pa.string()),
        }
    )
    return clips, pa.table({"video_id": videos, "channel": pa.array(channels, pa.string())})


def fulfils(kept: tuple[int, ...], owner: list[int], shares: MaxShare) -> bool:
    total = sum(kept)
    of_channel = Counter[int]()
    for count, channel in zip(kept, owner, strict=True):
        of_channel[channel] += count
    return (shares.video is None or all(c <= Fraction(repr(shares.video)) * total for c in kept)) and (
        shares.channel is None
        or all(c <= Fraction(repr(shares.channel)) * total for c in of_channel.values())
    )


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=5),
    st.builds(MaxShare, video=SHARES, channel=SHARES),
)
def test_no_choice_of_clips_keeps_more(corpus: list[tuple[int, int]], shares: MaxShare) -> None:
    sizes, owner = [size for size, _ in corpus], [channel for _, channel in corpus]
    choices = itertools.product(*(range(size + 1) for size in sizes))
    best = max(sum(kept) for kept in choices if fulfils(kept, owner, shares))
    assert most(np.array(sizes), np.array(owner), shares) == best


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["a", "b", "c", None])), min_size=1, max_size=20),
    st.builds(MaxShare, video=SHARES, channel=SHARES),
    st.randoms(use_true_random=False),
)
def test_what_is_kept_fulfils_the_shares_and_is_the_most(
    corpus: list[tuple[int, str | None]], shares: MaxShare, chance: random.Random
) -> None:
    clips, videos = tables([size for size, _ in corpus], [channel for _, channel in corpus])
    owner = [channel or f"own {number}" for number, (_, channel) in enumerate(corpus)]
    codes = [sorted(set(owner)).index(channel) for channel in owner]
    possible = most(np.array([size for size, _ in corpus]), np.array(codes), shares)
    if not possible:
        with pytest.raises(SettingError, match=r"^curate.max_share: takes kept clips of at least"):
            over_share(clips, videos, shares, 0)
        return
    over = over_share(clips, videos, shares, 0)
    left = np.setdiff1d(np.arange(len(clips)), np.concatenate(over))
    assert len(left) == possible == len(clips) - len(over[0]) - len(over[1])
    kept = Counter(clips["video_id"].take(pa.array(left)).to_pylist())
    assert fulfils(tuple(kept[video] for video in videos["video_id"].to_pylist()), codes, shares)
    order = list(range(len(clips)))
    chance.shuffle(order)
    again = over_share(clips.take(pa.array(order)), videos, shares, 0)
    assert [{order[row] for row in rows} for rows in again] == [set(rows) for rows in over]


def test_the_seed_chooses_which() -> None:
    clips, videos = tables([20, 20, 20], [None, None, None])
    shares = MaxShare(video=0.4)
    lone, _ = tables([60, 5, 5], [None, None, None])
    chosen = [over_share(lone, videos, shares.model_copy(update={"video": 0.5}), seed)[0] for seed in (0, 1)]
    assert len(chosen[0]) == len(chosen[1]) == 50
    assert chosen[0].tolist() != chosen[1].tolist()
    assert [len(rows) for rows in over_share(clips, videos, shares, 0)] == [0, 0]


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (
            MaxShare(video=0.02),
            "curate.max_share: takes kept clips of at least 50 videos, and there are 3 videos; "
            "find more, or raise the share",
        ),
        (
            MaxShare(video=0.4, channel=0.3),
            "curate.max_share: takes kept clips of at least 3 videos and 4 channels, and there are 3 videos "
            "and 2 channels; find more, or raise the share",
        ),
        (
            MaxShare(video=0.34, channel=0.5),
            "curate.max_share: takes kept clips of at least 3 videos and 2 channels with enough clips each, "
            "and there are 3 videos and 2 channels; find more, or raise the share",
        ),
    ],
)
def test_what_cannot_be_is_one_line_that_says_what_it_takes(shares: MaxShare, said: str) -> None:
    clips, videos = tables([9, 9, 1], ["a", "a", "b"])
    with pytest.raises(SettingError) as caught:
        over_share(clips, videos, shares, 0)
    assert str(caught.value) == said


def decided(clips: pa.Table, decision: list[str]) -> pa.Table:
    fixed = {name: clips[name] for name in ("key", "video_id")}
    filled = {"start_s": 0.0, "n_frames": 160, "unique_frames": 160, "fps": 10.0, "size": 1}
    rows = [
        {**filled, "content_box": [0, 0, 160, 90], "decision": one, **dict(zip(fixed, told, strict=True))}
        for one, *told in zip(decision, *(column.to_pylist() for column in fixed.values()), strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=CLIP_SCHEMA)


def test_decisions_and_the_effect_of_each_share() -> None:
    clips, videos = tables([20, 4, 6, 6, 6], ["a", "a", "b", "c", "d"])
    table = decided(clips, ["dropped:static"] * 2 + ["kept"] * 40)
    settings = CurateSettings(max_share=MaxShare(video=0.25, channel=0.3))
    held = hold_to_shares(table, videos, settings)["decision"].to_pylist()
    assert held[:2] == ["dropped:static"] * 2
    # A quarter of 25 is 6 of the first video's 18; with the 4 of its channel's other that makes 10, of which
    # 7 may stay.
    assert Counter(held) == {
        "dropped:static": 2,
        "dropped:max_share_video": 12,
        "dropped:max_share_channel": 3,
        "kept": 25,
    }
    told = "at most {} of the kept clips are from one {}"
    assert list(share_effects(table, videos, settings)) == [
        RuleEffect(
            "max_share_video", told.format(0.25, "video"), reached=40, dropped=12, alone=11, without=0
        ),
        RuleEffect(
            "max_share_channel", told.format(0.3, "channel"), reached=28, dropped=3, alone=15, without=4
        ),
    ]


def test_without_shares_nothing_is_dropped_and_of_nothing_nothing() -> None:
    clips, videos = tables([3], [None])
    table = decided(clips, ["kept"] * 3)
    assert hold_to_shares(table, videos, CurateSettings()).equals(table)
    nothing = decided(clips, ["dropped:static"] * 3)
    settings = CurateSettings(max_share=MaxShare(video=0.1))
    assert hold_to_shares(nothing, videos, settings).equals(nothing)
