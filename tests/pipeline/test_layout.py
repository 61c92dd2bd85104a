from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.layout import Clips, Held, Shard, lay_out
from shards.keys import clip_key, split_of
from shards.tar import tar_bytes

SHARES = {"train": 0.5, "val": 0.5}
CAPACITY = 40_960


@dataclass(frozen=True)
class Clip:
    """What the layout may look at, and the video for the test to look at."""

    key: str
    video: str
    size: int
    content: int


Layout = dict[tuple[str, int], tuple[Clip, ...]]


def make(video: int, number: int, size: int = 1000, content: int = 0) -> Clip:
    # Of another size, it is another content.
    return Clip(clip_key(f"video-{video}", number * 160), f"video-{video}", size, 3 * size + content)


def table(corpus: list[Clip]) -> Clips:
    return Clips(
        keys=pa.array([clip.key for clip in corpus], pa.string()),
        splits=pa.array([split_of(clip.video, SHARES) for clip in corpus], pa.string()),
        sizes_bytes=np.array([clip.size for clip in corpus], np.int64),
        content=pa.array([clip.content for clip in corpus], pa.int64()),
    )


def held(layout: Layout) -> list[Held]:
    return [
        Held(
            split,
            number,
            pa.array([clip.key for clip in clips], pa.string()),
            pa.array([clip.content for clip in clips], pa.int64()),
        )
        for (split, number), clips in layout.items()
    ]


def shards_of(corpus: list[Clip], parent: Layout, *, seed: int = 0, anew: bool = False) -> tuple[Shard, ...]:
    return lay_out(table(corpus), held(parent), seed=seed, max_bytes=CAPACITY, anew=anew)


def laid_out(
    corpus: list[Clip], parent: Layout | None = None, *, seed: int = 0, anew: bool = False
) -> Layout:
    shards = shards_of(corpus, parent or {}, seed=seed, anew=anew)
    return {(s.split, s.number): tuple(corpus[row] for row in s.rows) for s in shards}


CORPORA = st.lists(
    st.builds(make, st.integers(0, 12), st.integers(0, 12), st.integers(512, 60_000), st.integers(0, 2)),
    unique_by=lambda clip: clip.key,
    max_size=60,
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Layout, list[Clip]]:
    """The layout after some versions, and the clips of the next one."""
    layout: Layout = {}
    for _ in range(draw(st.integers(0, 3))):
        layout = laid_out(draw(CORPORA), layout)
    old = [clip for clips in layout.values() for clip in clips]
    stay = draw(st.lists(st.sampled_from(old), unique_by=lambda clip: clip.key)) if old else []
    keys = {clip.key for clip in stay}
    return layout, stay + [clip for clip in draw(CORPORA) if clip.key not in keys]


@given(histories(), st.booleans())
def test_every_clip_is_dealt_once_within_the_limits(history: tuple[Layout, list[Clip]], anew: bool) -> None:
    parent, corpus = history
    layout = laid_out(corpus, parent, anew=anew)
    dealt = [clip for clips in layout.values() for clip in clips]
    assert sorted(clip.key for clip in dealt) == sorted(clip.key for clip in corpus)
    for (split, _), clips in layout.items():
        assert clips
        assert {split_of(clip.video, SHARES) for clip in clips} == {split}
        assert tar_bytes(sum(clip.size for clip in clips)) <= CAPACITY or len(clips) == 1
    sides: dict[str, set[str]] = {}
    for (split, _), clips in layout.items():
        for clip in clips:
            sides.setdefault(clip.video, set()).add(split)
    assert all(len(splits) == 1 for splits in sides.values())


@given(histories())
def test_what_stays_keeps_shard_and_place_and_what_is_new_is_appended(
    history: tuple[Layout, list[Clip]],
) -> None:
    parent, corpus = history
    layout = laid_out(corpus, parent)
    for place, clips in parent.items():
        stays = tuple(clip for clip in clips if clip in corpus)
        assert layout.get(place, ()) == stays
    for split in SHARES:
        before = [number for other, number in parent if other == split]
        new = sorted(number for other, number in layout if other == split and (other, number) not in parent)
        first = max(before, default=-1) + 1
        assert new == list(range(first, first + len(new)))


@given(histories(), st.booleans())
def test_a_shard_is_said_to_stay_exactly_if_it_is_the_same(
    history: tuple[Layout, list[Clip]], anew: bool
) -> None:
    parent, corpus = history
    for shard in shards_of(corpus, parent, anew=anew):
        same = parent.get((shard.split, shard.number)) == tuple(corpus[row] for row in shard.rows)
        assert shard.stays == same


@given(histories(), st.integers(0, 3), st.booleans(), st.randoms(use_true_random=False))
def test_the_order_in_which_clips_are_given_is_of_no_account(
    history: tuple[Layout, list[Clip]], seed: int, anew: bool, chance: random.Random
) -> None:
    parent, corpus = history
    layout = laid_out(corpus, parent, seed=seed, anew=anew)
    shuffled = list(corpus)
    chance.shuffle(shuffled)
    assert laid_out(shuffled, parent, seed=seed, anew=anew) == layout


@given(histories())
def test_the_same_clips_again_are_the_same_shards(history: tuple[Layout, list[Clip]]) -> None:
    parent, corpus = history
    layout = laid_out(corpus, parent)
    assert laid_out(corpus, layout) == layout
    assert all(shard.stays for shard in shards_of(corpus, layout))


@given(histories())
def test_anew_is_as_if_there_were_no_parent(history: tuple[Layout, list[Clip]]) -> None:
    parent, corpus = history
    assert laid_out(corpus, parent, anew=True) == laid_out(corpus)


def test_a_clip_of_which_nobody_can_tell_the_content_stays() -> None:
    corpus = [make(0, number) for number in range(3)]
    layout = laid_out(corpus)
    ((place, clips),) = layout.items()
    keys = pa.array([clip.key for clip in clips], pa.string())
    parent = [Held(*place, keys, pa.nulls(3, pa.int64()))]
    (shard,) = lay_out(table(corpus), parent, seed=0, max_bytes=CAPACITY)
    assert shard.stays
    assert tuple(corpus[row] for row in shard.rows) == clips


def test_neighbours_are_strangers_and_the_seed_decides() -> None:
    corpus = [make(video, number, 512) for video in range(20) for number in range(20)]
    orders = []
    for seed in (0, 1):
        shards = lay_out(table(corpus), [], seed=seed, max_bytes=10**9)
        orders.append([[corpus[row].video for row in shard.rows] for shard in shards])
        assert sum(a == b for videos in orders[-1] for a, b in itertools.pairwise(videos)) < 100
    assert orders[0] != orders[1]
