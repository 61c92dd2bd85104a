from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import UserError
from trainer_bridge.mixture import MixedOrder, counts_before, whole_shares
from trainer_bridge.order import WindowOrder, rank_share

SHARES = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@given(SHARES, st.integers())
def test_no_prefix_is_a_whole_position_off_its_weights(shares: list[int], seed: int) -> None:
    period = sum(shares)
    before = counts_before(shares, seed)
    for place, counts in enumerate(before.tolist()):
        assert sum(counts) == place
        for count, share in zip(counts, shares, strict=True):
            assert abs(count * period - share * place) < period
    assert before[-1].tolist() == shares
    assert ((before[1:] - before[:-1]) >= 0).all()


@given(SHARES, st.integers(0, 10**12), st.integers(1, 200), st.integers(0, 5))
def test_batches_are_consecutive_pieces_of_each_order(
    shares: list[int], first: int, size: int, seed: int
) -> None:
    orders = [WindowOrder([5, 9, 2], seed, part=part) for part in range(len(shares))]
    mixed = MixedOrder(orders, shares, seed)
    whole = mixed.locate(range(first, first + 2 * size))
    halves = mixed.locate(range(first, first + size)) + mixed.locate(range(first + size, first + 2 * size))
    assert sorted(whole) == sorted(halves)
    counts = Counter(place.part for place in whole)
    period = sum(whole_shares(shares))
    for part, share in enumerate(whole_shares(shares)):
        # Two prefixes, each within one.
        assert abs(counts[part] - 2 * size * share / period) < 2
        assert counts[part] <= mixed.most_in(2 * size)[part]


def test_each_order_is_followed_through_its_own_epochs() -> None:
    orders = [WindowOrder([4, 4], 1, part=0), WindowOrder([2, 1], 1, part=1)]
    places = MixedOrder(orders, [8, 3], 1).locate(range(11))
    assert Counter((part, shard, window) for part, shard, window, _ in places) == Counter(
        [(0, shard, window) for shard in range(2) for window in range(4)] + [(1, 0, 0), (1, 0, 1), (1, 1, 0)]
    )


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_a_rank_reads_mostly_what_is_ahead_of_it(world_size: int) -> None:
    orders = [WindowOrder([300] * 40, 1, part=0), WindowOrder([100] * 20, 1, part=1)]
    mixed = MixedOrder(orders, [3, 1], 1)
    for rank in range(world_size):
        ahead = mixed.ahead(0, rank, world_size)
        read = [
            (place.part, place.shard)
            for step in range(20)
            for place in rank_share(mixed.locate(range(step * 64, step * 64 + 64)), rank, world_size)
        ]
        # Of two blocks of each, the smaller of which has 20 in all.
        assert len(ahead) <= 52 / world_size + 12
        assert sum(place in ahead for place in read) >= 0.8 * len(read)


def test_datasets_of_one_shape_are_shuffled_apart() -> None:
    one, other = (WindowOrder([20] * 6, 5, part=part).locate(range(60)) for part in (0, 1))
    assert [place[1:] for place in one] != [place[1:] for place in other]
    assert not {place.draw for place in one} & {place.draw for place in other}


def test_the_seed_decides_who_comes_first() -> None:
    firsts = {tuple(counts_before([1, 1, 1], seed)[1].tolist()) for seed in range(20)}
    assert len(firsts) == 3


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ([0.7, 0.3], [7, 3]),
        ([3, 1], [3, 1]),
        ([1.0, 1.0, 2.0], [1, 1, 2]),
        ([0.1, 0.25], [2, 5]),
        ([9], [1]),
        ([np.float64(0.7), np.float32(0.5)], [7, 5]),
    ],
)
def test_weights_are_meant_as_they_are_written(weights: list[float], shares: list[int]) -> None:
    assert whole_shares(weights) == shares


@pytest.mark.parametrize("weights", [[0, 1], [-1.0, 2.0], [float("nan"), 1], [float("inf"), 1]])
def test_what_is_no_weight(weights: list[float]) -> None:
    with pytest.raises(UserError, match="is not a number above 0"):
        whole_shares(weights)


def test_weights_that_are_too_fine() -> None:
    with pytest.raises(UserError, match="repeat only after"):
        whole_shares([0.123456789, 0.876543211])
