import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import UserError
from trainer_bridge.order import (
    BLOCK_SHARDS,
    WindowOrder,
    WindowPlace,
    next_draw,
    permutation,
    rank_share,
    windows_in,
)

shard_tables = st.lists(
    st.dictionaries(st.integers(1, 50), st.integers(0, 3), max_size=3), min_size=1, max_size=40
)
seeds = st.integers(-(2**70), 2**70)


def windows(histograms: list[dict[int, int]], window: int) -> list[int]:
    return [windows_in(counts, window) for counts in histograms]


def test_splitmix64_gives_the_published_numbers() -> None:
    # The generator's first outputs from state 0, as in the tests of every implementation of it.
    first = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert permutation(3).tolist() == list(np.argsort(np.array(first, dtype=np.uint64)))


def test_order_is_the_same_for_ever() -> None:
    counts = windows([{160: 2, 40: n % 3} for n in range(BLOCK_SHARDS * 2 + 3)], 16)
    places = WindowOrder(counts, seed=7).locate(range(3000))
    digest = hashlib.sha256(repr([tuple(place) for place in places]).encode()).hexdigest()
    assert digest == "e8b63ea09cd73900f1646864ab8198ce07627bfb15fa6e29ca0a552db25478c4", (
        "the order has changed: raise ORDER_VERSION"
    )


@given(st.integers(0, 300), st.lists(seeds, max_size=3))
def test_permutation_has_each_number_once(count: int, by: list[int]) -> None:
    assert sorted(permutation(count, *by).tolist()) == list(range(count))


@given(shard_tables, st.integers(1, 20), seeds, st.integers(0, 3), st.integers(1, 12))
def test_an_epoch_has_every_window_once(
    histograms: list[dict[int, int]], window: int, seed: int, epoch: int, visit: int
) -> None:
    counts = windows(histograms, window)
    order = WindowOrder(counts, seed, windows_per_visit=visit)
    total = order.windows_per_epoch
    expected = {(shard, number) for shard, count in enumerate(counts) for number in range(count)}
    assert total == len(expected)
    if total:
        places = order.locate(range(epoch * total, (epoch + 1) * total))
        assert len(places) == total
        assert {(place.shard, place.window) for place in places} == expected


@given(shard_tables, seeds, st.integers(0, 500), st.integers(0, 60), st.integers(1, 12))
def test_any_position_is_found_without_those_before_it(
    histograms: list[dict[int, int]], seed: int, start: int, count: int, visit: int
) -> None:
    counts = windows([*histograms, {16: 1}], 4)
    whole = WindowOrder(counts, seed, windows_per_visit=visit).locate(range(start + count))
    fresh = WindowOrder(counts, seed, windows_per_visit=visit)
    assert fresh.locate(range(start, start + count)) == whole[start:]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), seeds, st.integers(1, 9))
def test_the_windows_of_a_visit_stay_together(counts: list[int], seed: int, visit: int) -> None:
    order = WindowOrder(counts, seed, windows_per_visit=visit)
    places = order.locate(range(order.windows_per_epoch)) if order.windows_per_epoch else []
    follows = [
        (after.shard, after.window) == (before.shard, before.window + 1)
        for before, after in pairwise(places)
        if after.window % visit
    ]
    assert all(follows)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), seeds, st.integers(0, 400))
def test_the_blocks_ahead_are_those_that_come(counts: list[int], seed: int, position: int) -> None:
    order = WindowOrder([*counts, 1], seed)
    block, after = order.blocks_from(position)
    assert all(windows == [*counts, 1][shard] for shard, windows in block.items())
    coming = [place.shard for place in order.locate(range(position, position + order.windows_per_epoch))]
    until = next((at for at, shard in enumerate(coming) if shard not in block), len(coming))
    assert until > 0
    assert all(shard in block or shard in after for shard in coming[: until + 1])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), seeds)
def test_draws_differ_by_window_and_epoch_and_are_those_of_any_reader(counts: list[int], seed: int) -> None:
    order = WindowOrder(counts, seed)
    places = order.locate(range(order.windows_per_epoch * 2))
    assert len({place.draw for place in places}) == len(places)
    assert all(0 <= place.draw < 2**64 and next_draw(place.draw) != place.draw for place in places)


@settings(max_examples=30)
@given(st.integers(0, 2**64), st.integers(0, 40), st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_ranks_share_out_the_same_batches(seed: int, step: int, world_size: int) -> None:
    order = WindowOrder([30] * 20, seed)
    batch = order.locate(range(step * 12, step * 12 + 12))
    shares = [rank_share(batch, rank, world_size) for rank in range(world_size)]
    assert {len(share) for share in shares} == {12 // world_size}
    assert [place for share in shares for place in share] == sorted(batch)


def test_a_block_mixes_few_shards_and_all_of_them() -> None:
    order = WindowOrder([100] * BLOCK_SHARDS * 3, seed=1)
    blocks = [order.locate(range(start, start + BLOCK_SHARDS * 100)) for start in (0, 1600, 3200)]
    members = [{place.shard for place in block} for block in blocks]
    assert [len(shards) for shards in members] == [BLOCK_SHARDS] * 3
    assert len(set.union(*members)) == BLOCK_SHARDS * 3
    assert len({place.shard for place in blocks[0][:100]}) > BLOCK_SHARDS // 2


def test_epochs_and_seeds_differ() -> None:
    order = WindowOrder([40] * 5, seed=1)
    first, second = order.locate(range(200)), order.locate(range(200, 400))
    assert [place[:3] for place in first] != [place[:3] for place in second]
    assert first != WindowOrder([40] * 5, seed=2).locate(range(200))


def test_no_windows_and_negative_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="no windows at"):
        WindowOrder([0], seed=0).locate(range(1))
    with pytest.raises(ValueError, match="no windows at"):
        WindowOrder([4], seed=0).locate(range(-1, 1))


@pytest.mark.parametrize(
    ("rank", "world_size", "message"),
    [
        (0, 3, "world_size: 3 ranks cannot share a batch_size of 4"),
        (0, 0, "world_size: 0 ranks cannot share"),
        (2, 2, "rank: 2 is not one of 2 ranks"),
        (-1, 2, "rank: -1 is not one of 2 ranks"),
    ],
)
def test_ranks_that_cannot_be_are_refused(rank: int, world_size: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rank_share([WindowPlace(0, 0, n, 0) for n in range(4)], rank, world_size)
