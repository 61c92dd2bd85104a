"""The order of training windows: a pure function of the version's shard table, a seed and a position.

    epoch     the shards of a split, shuffled by (seed, epoch)
    block     the next `BLOCK_SHARDS` shards of an epoch; all their windows shuffled together
    position  0, 1, 2, ... through the blocks of an epoch and on through the epochs after it
    batch     positions step * B .. step * B + B - 1, shared out among the ranks

Nothing is remembered from one position to the next, so a stream begins at any step as fast as at the
first, and any number of ranks that divides B sees the same batches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shards.errors import UserError
from shards.manifest import ShardEntry

BLOCK_SHARDS = 16
"""Shards whose windows are shuffled together.

More mix better; fewer keep fewer files and indexes open. A full shard (256 MB, 10 windows a clip)
has some 40,000 windows, so a batch of 512 is drawn from 600,000, and one place in the shuffle costs
16 bytes.
"""

ORDER_VERSION = 1
"""Raised whenever the same settings would become another order."""

IntArray = npt.NDArray[np.int64]


class WindowPlace(NamedTuple):
    """A window: the number of its shard within the split, and its own number within that shard."""

    shard: int
    window: int


def windows_in(shard: ShardEntry, window: int) -> int:
    """How many aligned windows of `window` frames a shard has; shorter clips have none."""
    return sum(count * (frames // window) for frames, count in shard.clips_by_frames.items())


class WindowOrder:
    """The endless order of a split's windows; each epoch has every window once.

    Args:
        shards: the split's shards, in the order of the version file.
        window: frames a window, >= 1.
        seed: any integer; its low 64 bits count.
    """

    def __init__(self, shards: Sequence[ShardEntry], window: int, seed: int) -> None:
        self._windows = np.array([windows_in(shard, window) for shard in shards], dtype=np.int64)
        self._seed = seed
        self._block: tuple[tuple[int, int], IntArray] | None = None
        self.windows_per_epoch = int(self._windows.sum())

    def locate(self, positions: range) -> list[WindowPlace]:
        """The windows at consecutive positions.

        Raises:
            ValueError: a position is negative, or there are no windows.
        """
        if positions.start < 0 or positions.step != 1 or not self.windows_per_epoch:
            raise ValueError(f"no windows at {positions} of {self.windows_per_epoch} an epoch")
        places: list[WindowPlace] = []
        position = positions.start
        while position < positions.stop:
            windows, first = self._block_at(position)
            rows = windows[position - first : positions.stop - first]
            places += [WindowPlace(shard, window) for shard, window in rows.tolist()]
            position += len(rows)
        return places

    def _block_at(self, position: int) -> tuple[IntArray, int]:
        """The shuffled windows `[n, 2]` of the block that holds a position, and its first position."""
        epoch, place = divmod(position, self.windows_per_epoch)
        shards = permutation(len(self._windows), self._seed, epoch)
        starts = np.arange(0, len(shards), BLOCK_SHARDS)
        ends = np.cumsum(np.add.reduceat(self._windows[shards], starts))
        number = int(np.searchsorted(ends, place, side="right"))
        if self._block is None or self._block[0] != (epoch, number):
            members = shards[starts[number] : starts[number] + BLOCK_SHARDS]
            self._block = (epoch, number), self._shuffle(members, epoch, number)
        windows = self._block[1]
        return windows, epoch * self.windows_per_epoch + int(ends[number]) - len(windows)

    def _shuffle(self, shards: IntArray, epoch: int, number: int) -> IntArray:
        counts = self._windows[shards]
        first = np.repeat(np.cumsum(counts) - counts, counts)
        windows = np.stack([np.repeat(shards, counts), np.arange(counts.sum()) - first], axis=1)
        return windows[permutation(len(windows), self._seed, epoch, number)]


def rank_share(places: Sequence[WindowPlace], rank: int, world_size: int) -> list[WindowPlace]:
    """The windows of a global batch that one rank reads: a slice of the batch sorted by place.

    Sorting first makes a rank's windows lie in few shards, mostly the same ones from batch to batch.

    Raises:
        UserError: `world_size` does not divide the batch, or there is no such rank.
    """
    if world_size < 1 or len(places) % world_size:
        raise UserError(
            f"world_size: {world_size} ranks cannot share a batch_size of {len(places)} equally; "
            f"choose a batch_size that is a multiple of the number of ranks"
        )
    if not 0 <= rank < world_size:
        raise UserError(f"rank: {rank} is not one of {world_size} ranks; they count from 0")
    share = len(places) // world_size
    return sorted(places)[rank * share : (rank + 1) * share]


def order_hash(version_hash: str, *, split: str, window: int, seed: int, batch_size: int) -> str:
    """SHA-256 of everything that shapes the global batches."""
    settings = {
        "order": ORDER_VERSION,
        "block_shards": BLOCK_SHARDS,
        "version": version_hash,
        "split": split,
        "window": window,
        "seed": seed,
        "batch_size": batch_size,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def permutation(count: int, *seeds: int) -> IntArray:
    """The numbers 0 to `count` - 1 shuffled by `seeds`, the same on every machine and for ever.

    Numbers are sorted by what the SplitMix64 generator gives them, which never gives the same to two.
    NumPy's own generators promise no such permanence to `shuffle` and `permutation` (NEP 19).

    >>> permutation(5, 0).tolist()
    [2, 0, 3, 1, 4]
    """
    state = np.zeros(1, dtype=np.uint64)
    for seed in seeds:
        state = _mix(state + _GAMMA + np.uint64(seed % 2**64))
    numbers = np.arange(1, count + 1, dtype=np.uint64)
    return np.argsort(_mix(state + numbers * _GAMMA), kind="stable").astype(np.int64)


# SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's output for each state; arithmetic of unsigned arrays wraps, as it should."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))
