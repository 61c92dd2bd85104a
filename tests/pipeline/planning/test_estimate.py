"""Totals and their intervals, from a few."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.planning.estimate import CONFIDENCE, Probed, interval, predict_totals, spread

AMOUNTS = st.fixed_dictionaries({"clips": st.integers(0, 1000).map(float), "cpu_s": st.floats(0, 1e5)})
TOLD_S = st.one_of(st.none(), st.floats(1, 1e5))
PROBED = st.lists(st.builds(Probed, TOLD_S, AMOUNTS), min_size=1, max_size=8)
REST = st.lists(TOLD_S, max_size=20)
SEEDS = st.integers(0, 2**32)


@given(PROBED, REST, SEEDS)
def test_an_interval_holds_its_estimate_and_nothing_below_what_is_known(
    probed: list[Probed], rest: list[float | None], seed: int
) -> None:
    for name, draws in predict_totals(probed, rest, seed).items():
        found = interval(draws)
        known = sum(video.amounts[name] for video in probed)
        assert found.estimate >= known * (1 - 1e-9)
        if len(probed) == 1 and rest:
            assert (found.low, found.high) == (None, None)
        else:
            assert found.low is not None
            assert found.high is not None
            assert known * (1 - 1e-9) <= found.low <= found.estimate <= found.high


@given(PROBED, SEEDS)
def test_what_was_all_measured_is_known(probed: list[Probed], seed: int) -> None:
    for name, draws in predict_totals(probed, [], seed).items():
        known = sum(video.amounts[name] for video in probed)
        assert interval(draws) == pytest.approx((known, known, known))


@given(st.floats(0.001, 100), st.lists(st.floats(1, 1e5), min_size=2, max_size=6), REST, SEEDS)
def test_it_is_exact_where_all_videos_are_alike(
    rate: float, probed_s: list[float], rest: list[float | None], seed: int
) -> None:
    rest_s = [told_s or 60.0 for told_s in rest]
    probed = [Probed(told_s, {"cpu_s": rate * told_s}) for told_s in probed_s]
    total = rate * (sum(probed_s) + sum(rest_s))
    assert interval(predict_totals(probed, rest_s, seed)["cpu_s"]) == pytest.approx((total, total, total))


@given(PROBED, st.lists(st.floats(1, 1e4), min_size=1, max_size=20), st.floats(0.1, 10), SEEDS)
def test_longer_videos_take_longer_in_proportion(
    probed: list[Probed], rest_s: list[float], factor: float, seed: int
) -> None:
    probed = [Probed(video.told_s or 60.0, video.amounts) for video in probed]
    totals = predict_totals(probed, rest_s, seed)
    longer = predict_totals(probed, [factor * told_s for told_s in rest_s], seed)
    for name, draws in totals.items():
        known = sum(video.amounts[name] for video in probed)
        assert longer[name] - known == pytest.approx(factor * (draws - known), rel=1e-6, abs=1e-6)


def test_videos_of_unknown_length_are_counted() -> None:
    probed = [Probed(None, {"clips": 10.0}), Probed(None, {"clips": 20.0})]
    assert interval(predict_totals(probed, [None] * 8, 0)["clips"]).estimate == pytest.approx(150)


def test_each_kind_is_judged_by_its_own() -> None:
    probed = [Probed(100.0, {"clips": 5.0})] * 2 + [Probed(None, {"clips": 50.0})] * 2
    assert interval(predict_totals(probed, [1000.0, None], 0)["clips"]) == pytest.approx((210, 210, 210))


@given(PROBED, REST, SEEDS)
def test_a_seed_says_all(probed: list[Probed], rest: list[float | None], seed: int) -> None:
    first, second = (predict_totals(probed, rest, seed) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)


@given(st.integers(1, 10_000), st.integers(1, 100), SEEDS)
def test_a_sample_is_spread_and_holds_nothing_twice(total: int, count: int, seed: int) -> None:
    places = spread(total, count, seed)
    assert len(places) == min(total, count)
    assert places == sorted(set(places))
    assert 0 <= places[0] <= places[-1] < total
    around = [*places, places[0] + total]
    stretch = -(-total // len(places))
    assert all(after - before < 2 * stretch for before, after in pairwise(around))


def test_each_place_is_as_likely_as_any_other() -> None:
    total, count, rounds = 13, 5, 4000
    times = Counter(place for seed in range(rounds) for place in spread(total, count, seed))
    expected = rounds * count / total
    assert all(abs(times[place] - expected) < 5 * math.sqrt(expected) for place in range(total))


@pytest.mark.parametrize("count", [2, 3, 5, 8, 20])
def test_as_many_intervals_hold_the_truth_as_they_say(count: int) -> None:
    """Of populations as videos are: lengths and what a second costs are both log-normal."""
    chance = random.Random(count)
    held = 0
    rounds = 400
    for seed in range(rounds):
        lengths_s = [chance.lognormvariate(6, 0.8) for _ in range(60)]
        videos = [Probed(s, {"cpu_s": s * chance.lognormvariate(-4, 0.4)}) for s in lengths_s]
        found = interval(predict_totals(videos[:count], lengths_s[count:], seed)["cpu_s"])
        held += found.low <= sum(video.amounts["cpu_s"] for video in videos) <= found.high
    assert CONFIDENCE - 0.1 <= held / rounds <= 1
