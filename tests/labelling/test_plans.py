"""A plan draws each clip at most once, the same by the same seed, and fair shares of its strata."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelling.plans import QUANTILE_BINS, is_shared, sample, strata_sizes
from shards.errors import UserError

DECISIONS = ("kept", "dropped:static", "dropped:menu")


@st.composite
def catalogs(draw: st.DrawFn) -> pa.Table:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(DECISIONS),
                st.sampled_from([None, "a", "b", "\x1b[31m"]),
                st.none() | st.floats(0, 1),
            ),
            min_size=1,
            max_size=60,
        )
    )
    return catalog(rows)


def catalog(rows: list[tuple[str, str | None, float | None]]) -> pa.Table:
    decisions, channels, motions = zip(*rows, strict=True)
    return pa.table(
        {
            "key": [f"v_{number:08d}" for number in range(len(rows))],
            "decision": pa.array(decisions, pa.string()),
            "channel": pa.array(channels, pa.string()),
            "motion": pa.array(motions, pa.float64()),
        }
    )


SEEDS, COUNTS = st.integers(0, 5), st.integers(3, 70)
DRAWING = st.sampled_from(["random", "stratum:channel", "stratum:motion", "stratum:decision", "audit"])


@given(catalogs(), DRAWING, COUNTS, SEEDS)
def test_a_draw_is_exact_fair_and_says_how_likely_each_clip_was(
    clips: pa.Table, plan: str, count: int, seed: int
) -> None:
    chosen = sample(clips, plan, count, seed)
    keys = [one.key for one in chosen]
    assert len(set(keys)) == len(keys) == min(count, len(clips))
    assert set(keys) <= set(clips["key"].to_pylist())
    assert sample(clips, plan, count, seed) == chosen
    assert [one.key for one in sample(clips.take(list(range(len(clips)))[::-1]), plan, count, seed)] == keys
    sizes = strata_sizes(clips, plan)
    assert sum(sizes.values()) == len(clips)
    drawn = Counter(one.stratum for one in chosen)
    # Who has fewer than another one's share, less one, was taken whole.
    for stratum, size in sizes.items():
        assert drawn[stratum] == size or drawn[stratum] >= max(drawn.values()) - 1
    for one in chosen:
        assert one.probability == drawn[one.stratum] / sizes[one.stratum]
    # Of each stratum that was drawn from, the weights of its sample add up to its size (Horvitz-Thompson).
    for stratum in drawn:
        weights = sum(1 / one.probability for one in chosen if one.stratum == stratum and one.probability)
        assert weights == pytest.approx(sizes[stratum])
    if plan == "audit":
        assert set(drawn) == set(clips["decision"].to_pylist())


@given(catalogs(), COUNTS, SEEDS, st.floats(-1, 2))
def test_near_begins_with_the_nearest(clips: pa.Table, count: int, seed: int, value: float) -> None:
    motions = dict(zip(clips["key"].to_pylist(), clips["motion"].to_pylist(), strict=True))
    distances = sorted(abs(motion - value) for motion in motions.values() if motion is not None)
    if not distances:
        with pytest.raises(UserError, match="no such clip"):
            sample(clips, f"near:motion={value}", count, seed)
        return
    chosen = sample(clips, f"near:motion={value}", count, seed)
    assert [abs((motions[one.key] or 0) - value) for one in chosen] == distances[:count]
    assert len({one.key for one in chosen}) == len(chosen)


@given(catalogs(), COUNTS, SEEDS)
def test_dropped_shows_no_kept_clip(clips: pa.Table, count: int, seed: int) -> None:
    decisions = dict(zip(clips["key"].to_pylist(), clips["decision"].to_pylist(), strict=True))
    if set(decisions.values()) == {"kept"}:
        with pytest.raises(UserError, match="no such clip"):
            sample(clips, "dropped", count, seed)
        return
    chosen = sample(clips, "dropped", count, seed)
    assert len(chosen) == min(count, sum(decision != "kept" for decision in decisions.values()))
    assert all(one.stratum == decisions[one.key] != "kept" for one in chosen)


def test_another_seed_draws_others_and_more_clips_hold_the_fewer() -> None:
    clips = catalog([("kept", None, None)] * 1000)
    first = {one.key for one in sample(clips, "random", 100, 0)}
    assert first != {one.key for one in sample(clips, "random", 100, 1)}
    assert first < {one.key for one in sample(clips, "random", 200, 0)}


def test_every_clip_is_as_likely_as_it_is_said_to_be() -> None:
    clips = catalog([("kept", None, None)] * 40 + [("dropped:static", None, None)] * 10)
    seeds = 400
    drawn = Counter(one.key for seed in range(seeds) for one in sample(clips, "audit", 10, seed))
    for place, key in enumerate(clips["key"].to_pylist()):
        # The seeds are fixed, and so is what they draw; 5 standard deviations of a binomial are 0.09 at most.
        assert abs(drawn[key] / seeds - (5 / 40 if place < 40 else 5 / 10)) < 0.125


def test_the_order_does_not_tell_the_stratum() -> None:
    clips = catalog([("kept", None, None)] * 500 + [("dropped:static", None, None)] * 500)
    chosen = [one.stratum for one in sample(clips, "audit", 400, 0)]
    changes = sum(one != other for one, other in pairwise(chosen))
    assert 150 < changes < 250


def test_numbers_are_drawn_from_bins_of_equally_many_clips() -> None:
    clips = catalog([("kept", None, number**2 / 1e6) for number in range(1000)])
    sizes = strata_sizes(clips, "stratum:motion")
    assert len(sizes) == QUANTILE_BINS
    assert all(abs(size - 100) <= 1 for size in sizes.values())
    assert set(Counter(one.stratum for one in sample(clips, "stratum:motion", 50, 0)).values()) == {5}


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_overlap_holds_a_smaller(one: float, other: float) -> None:
    keys = [f"v_{number:08d}" for number in range(200)]
    small, large = sorted([one, other])
    assert {key for key in keys if is_shared(key, small)} <= {key for key in keys if is_shared(key, large)}
    assert not any(is_shared(key, 0.0) for key in keys)
    assert all(is_shared(key, 1.0) for key in keys)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("rnadom", "no such plan; there are random"),
        ("random:x", "no such plan"),
        ("stratum:", "no such plan"),
        ("stratum:chanel", "no column 'chanel'; did you mean channel?"),
        ("near:motion", "write near:SCORE=VALUE"),
        ("near:motion=nan", "write near:SCORE=VALUE"),
        ("near:channel=1", "channel holds no numbers"),
        ("near:=1", "no column ''"),
    ],
)
def test_a_plan_that_cannot_be(plan: str, said: str) -> None:
    with pytest.raises(UserError, match=f"--plan {plan}: .*{said.replace('?', '.')}"):
        sample(catalog([("kept", "a", 0.5)]), plan, 10, 0)


def test_an_audit_looks_into_every_decision() -> None:
    with pytest.raises(UserError, match="--clips 2: an audit looks into each of 3 decisions"):
        sample(catalog([(decision, None, None) for decision in DECISIONS]), "audit", 2, 0)
