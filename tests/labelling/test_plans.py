from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelling.plans import is_shared, sample, strata_sizes
from shards.errors import UserError

DECISIONS = st.sampled_from(["kept", "kept", "dropped:static", "dropped:menu"])
ROWS = st.lists(st.tuples(DECISIONS, st.floats(0, 1), st.sampled_from("abc")), min_size=1, max_size=60)
PLANS = ["random", "audit", "stratum:channel", "stratum:motion", "near:motion=0.5"]


def table(rows: list[tuple[str, float, str]]) -> pa.Table:
    decisions, motion, channels = zip(*rows, strict=True)
    keys = [f"video_{number:08d}" for number in range(len(rows))]
    return pa.table({"key": keys, "decision": decisions, "motion": motion, "channel": channels})


@pytest.mark.parametrize("plan", PLANS)
@given(rows=ROWS, count=st.integers(4, 80), seed=st.integers(0, 3))
def test_every_clip_at_most_once_and_the_same_ones_for_a_seed(
    plan: str, rows: list[tuple[str, float, str]], count: int, seed: int
) -> None:
    clips = table(rows)
    chosen = sample(clips, plan, count, seed)
    keys = [one.key for one in chosen]
    assert len(set(keys)) == len(keys) == min(count, len(rows))
    assert set(keys) <= set(clips["key"].to_pylist())
    assert chosen == sample(clips.take(list(reversed(range(len(rows))))), plan, count, seed)


@given(rows=ROWS, count=st.integers(4, 80))
def test_an_audit_can_be_estimated_from(rows: list[tuple[str, float, str]], count: int) -> None:
    clips = table(rows)
    chosen = sample(clips, "audit", count, seed=1)
    decision_of = dict(zip(clips["key"].to_pylist(), clips["decision"].to_pylist(), strict=True))
    assert all(one.stratum == decision_of[one.key] for one in chosen)
    # The weights of what was drawn sum up to what there is: Horvitz and Thompson (1952).
    weights: Counter[str] = Counter()
    for one in chosen:
        assert one.probability
        weights[one.stratum] += 1 / one.probability  # type: ignore[assignment]
    assert weights == pytest.approx(strata_sizes(clips, "audit"))


@given(rows=ROWS, count=st.integers(4, 60))
def test_strata_have_equal_shares(rows: list[tuple[str, float, str]], count: int) -> None:
    clips = table(rows)
    drawn = Counter(one.stratum for one in sample(clips, "stratum:channel", count, 0))
    sizes = strata_sizes(clips, "stratum:channel")
    most = max(drawn.values())
    for stratum, size in sizes.items():
        assert drawn[stratum] == size or drawn[stratum] >= most - 1


def test_the_dropped_are_drawn_by_rule_and_no_kept_clip_is() -> None:
    rows = [("kept", 0.5, "a")] * 50 + [("dropped:static", 0, "a")] * 40 + [("dropped:menu", 0, "a")] * 4
    drawn = Counter(one.stratum for one in sample(table(rows), "dropped", 10, 0))
    assert drawn == {"dropped:static": 6, "dropped:menu": 4}


def test_the_nearest_to_a_threshold_come_first() -> None:
    rows = [("kept", value, "a") for value in (0.1, 0.9, 0.42, 0.39, 0.6)]
    clips = table(rows)
    order = [clips["key"].to_pylist().index(one.key) for one in sample(clips, "near:motion=0.4", 3, 0)]
    assert order == [3, 2, 4]


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_overlap_holds_the_smaller(key: str, one: float, other: float) -> None:
    if is_shared(key, min(one, other)):
        assert is_shared(key, max(one, other))


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ("best", "no such plan"),
        ("stratum:chanel", "channel"),
        ("near:motion=high", "no number"),
        ("near:channel=1", "holds no numbers"),
    ],
)
def test_a_wrong_plan_is_one_line(plan: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as told:
        sample(table([("kept", 0.1, "a")]), plan, 1, 0)
    assert "\n" not in str(told.value)


def test_an_audit_of_fewer_clips_than_decisions_is_refused() -> None:
    with pytest.raises(UserError, match="--clips 1"):
        sample(table([("kept", 0.1, "a"), ("dropped:static", 0, "a")]), "audit", 1, 0)
