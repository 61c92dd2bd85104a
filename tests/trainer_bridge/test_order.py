import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import UserError
from shards.manifest import ShardEntry
from trainer_bridge.order import (
    BLOCK_SHARDS,
    WindowOrder,
    WindowPlace,
    order_hash,
    permutation,
    rank_share,
    windows_in,
)

shard_tables = st.lists(
    st.dictionaries(st.integers(1, 50), st.integers(0, 3), max_size=3), min_size=1, max_size=40
)
seeds = st.integers(-(2**70), 2**70)


def entries(histograms: list[dict[int, int]]) -> list[ShardEntry]:
    return [
        ShardEntry(f"shards/{number}.tar", "train", sum(counts.values()), 0, "", "", counts)
        for number, counts in enumerate(histograms)
    ]


def test_splitmix64_gives_the_published_numbers() -> None:
    # The generator's first outputs from state 0, as in the tests of every implementation of it.
    first = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert permutation(3).tolist() == list(np.argsort(np.array(first, dtype=np.uint64)))


def test_order_is_the_same_for_ever() -> None:
    shards = entries([{160: 2, 40: n % 3} for n in range(BLOCK_SHARDS * 2 + 3)])
    places = WindowOrder(shards, 16, seed=7).locate(range(3000))
    digest = hashlib.sha256(repr([tuple(place) for place in places]).encode()).hexdigest()
    assert digest == "45f73b9e45e34c9db1c017e60264f615004d16438f4feb877bbeda12baa4e303", (
        "the order has changed: raise ORDER_VERSION"
    )


@given(st.integers(0, 300), st.lists(seeds, max_size=3))
def test_permutation_has_each_number_once(count: int, by: list[int]) -> None:
    assert sorted(permutation(count, *by).tolist()) == list(range(count))


@given(shard_tables, st.integers(1, 20), seeds, st.integers(0, 3))
def test_an_epoch_has_every_window_once(
    histograms: list[dict[int, int]], window: int, seed: int, epoch: int
) -> None:
    shards = entries(histograms)
    order = WindowOrder(shards, window, seed)
    total = order.windows_per_epoch
    expected = {
        WindowPlace(number, place)
        for number, shard in enumerate(shards)
        for place in range(windows_in(shard, window))
    }
    assert total == len(expected)
    if total:
        places = order.locate(range(epoch * total, (epoch + 1) * total))
        assert len(places) == total
        assert set(places) == expected


@given(shard_tables, seeds, st.integers(0, 500), st.integers(0, 60))
def test_any_position_is_found_without_those_before_it(
    histograms: list[dict[int, int]], seed: int, start: int, count: int
) -> None:
    shards = entries([*histograms, {16: 1}])
    whole = WindowOrder(shards, 4, seed).locate(range(start + count))
    assert WindowOrder(shards, 4, seed).locate(range(start, start + count)) == whole[start:]


@settings(max_examples=30)
@given(st.integers(0, 2**64), st.integers(0, 40), st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_ranks_share_out_the_same_batches(seed: int, step: int, world_size: int) -> None:
    order = WindowOrder(entries([{160: 3}] * 20), 16, seed)
    batch = order.locate(range(step * 12, step * 12 + 12))
    shares = [rank_share(batch, rank, world_size) for rank in range(world_size)]
    assert {len(share) for share in shares} == {12 // world_size}
    assert [place for share in shares for place in share] == sorted(batch)


def test_a_block_mixes_few_shards_and_all_of_them() -> None:
    order = WindowOrder(entries([{160: 10}] * BLOCK_SHARDS * 3), 16, seed=1)
    blocks = [order.locate(range(start, start + BLOCK_SHARDS * 100)) for start in (0, 1600, 3200)]
    members = [{place.shard for place in block} for block in blocks]
    assert [len(shards) for shards in members] == [BLOCK_SHARDS] * 3
    assert len(set.union(*members)) == BLOCK_SHARDS * 3
    assert len({place.shard for place in blocks[0][:100]}) > BLOCK_SHARDS // 2


def test_epochs_and_seeds_differ() -> None:
    shards = entries([{160: 4}] * 5)
    order = WindowOrder(shards, 16, seed=1)
    first, second = order.locate(range(200)), order.locate(range(200, 400))
    assert first != second
    assert first != WindowOrder(shards, 16, seed=2).locate(range(200))


def test_no_windows_and_negative_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="no windows at"):
        WindowOrder(entries([{15: 4}]), 16, seed=0).locate(range(1))
    with pytest.raises(ValueError, match="no windows at"):
        WindowOrder(entries([{16: 4}]), 16, seed=0).locate(range(-1, 1))


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
        rank_share([WindowPlace(0, n) for n in range(4)], rank, world_size)


def test_hash_tells_every_setting() -> None:
    base = {"split": "train", "window": 16, "seed": 0, "batch_size": 4}
    changed = [
        base,
        *(base | change for change in ({"split": "val"}, {"window": 8}, {"seed": 1}, {"batch_size": 8})),
    ]
    hashes = {order_hash("aa", **settings) for settings in changed} | {order_hash("bb", **base)}
    assert len(hashes) == 6
