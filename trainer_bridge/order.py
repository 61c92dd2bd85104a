"""The order of training windows: a pure function of how many windows each shard has, a seed and a position.

    epoch     the shards of a split, shuffled by (seed, epoch)
    block     the next `BLOCK_SHARDS` shards of an epoch; all their visits shuffled together
    visit     `windows_per_visit` windows that lie one behind the other in a shard; one by default
    position  0, 1, 2, ... through the blocks of an epoch and on through the epochs after it
    batch     positions step * B .. step * B + B - 1, shared out among the ranks

Nothing is remembered from one position to the next, so a stream begins at any step as fast as at the
first, and any number of ranks that divides B sees the same batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from shards.errors import UserError

BLOCK_SHARDS = 16
"""Shards whose windows are shuffled together.

More mix better; fewer keep fewer files and indexes open. A full shard (256 MB, 10 windows a clip)
has some 40,000 windows, so a batch of 512 is drawn from 600,000, and one place in the shuffle costs
16 bytes.
"""

ORDER_VERSION = 2
"""Raised whenever the same settings would become another order."""

IntArray = npt.NDArray[np.int64]
DrawArray = npt.NDArray[np.uint64]

Short = Literal["drop", "pad"]
"""What becomes of a clip that is shorter than a window."""


class WindowPlace(NamedTuple):
    """A window at one position of the order.

    Attributes:
        part: the number of the dataset in a mixture; 0 where there is one.
        shard: the number of the window's shard within the split.
        window: its own number within that shard.
        draw: a random number of 64 bits, this position's own: where a window that is not aligned begins,
            how it is augmented and what stands in for it if it is damaged are functions of it.
    """

    part: int
    shard: int
    window: int
    draw: int


def windows_in(clips_by_frames: Mapping[int, int], window: int, short: Short = "drop") -> int:
    """How many windows of `window` frames clips have: as many as fit one behind the other.

    Args:
        clips_by_frames: how many clips there are of each number of frames.
        short: `drop` gives clips shorter than a window none, `pad` gives them one.

    >>> windows_in({160: 2, 15: 1}, 16), windows_in({160: 2, 15: 1}, 16, "pad")
    (20, 21)
    """
    least = 1 if short == "pad" else 0
    return sum(count * max(frames // window, least) for frames, count in clips_by_frames.items())


class WindowOrder:
    """The endless order of a split's windows; each epoch has every window once.

    Args:
        windows: how many each shard has, in the order of the version file.
        seed: any integer; its low 64 bits count.
        windows_per_visit: so many windows that lie together stay together, so that they are read and
            decoded at once; >= 1. Epochs still have every window once.
        part: what the places that are found say they are part of.
    """

    def __init__(
        self, windows: Sequence[int] | IntArray, seed: int, *, windows_per_visit: int = 1, part: int = 0
    ) -> None:
        self._windows = np.asarray(windows, dtype=np.int64)
        self._visit = windows_per_visit
        # Datasets of one shape are not to be shuffled alike.
        self._seeds = (seed, part) if part else (seed,)
        self._part = part
        self._epoch: tuple[int, IntArray, IntArray] | None = None
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
            epoch, place = divmod(position, self.windows_per_epoch)
            number, first = self._block_at(epoch, place)
            rows = self._shuffled(epoch, number)[place - first : place - first + positions.stop - position]
            draws = draw((*self._seeds, epoch), rows[:, 0], rows[:, 1])
            places += [
                WindowPlace(self._part, shard, window, number)
                for (shard, window), number in zip(rows.tolist(), draws.tolist(), strict=True)
            ]
            position += len(rows)
        return places

    def blocks_from(self, position: int, count: int = 2) -> list[dict[int, int]]:
        """The block that a position lies in and those after it: the windows of each shard by its number."""
        found = []
        for _ in range(count):
            epoch, place = divmod(position, self.windows_per_epoch)
            number, first = self._block_at(epoch, place)
            members = np.sort(self._members(epoch, number))
            found.append(dict(zip(members.tolist(), self._windows[members].tolist(), strict=True)))
            position += first + int(self._windows[members].sum()) - place
        return found

    def _epoch_table(self, epoch: int) -> tuple[IntArray, IntArray]:
        """The shards of an epoch in their order, and where each of its blocks ends: positions within it."""
        # Another thread may look ahead into another epoch meanwhile.
        table = self._epoch
        if table is None or table[0] != epoch:
            shards = permutation(len(self._windows), *self._seeds, epoch)
            starts = np.arange(0, len(shards), BLOCK_SHARDS)
            self._epoch = table = epoch, shards, np.cumsum(np.add.reduceat(self._windows[shards], starts))
        return table[1:]

    def _block_at(self, epoch: int, place: int) -> tuple[int, int]:
        """The number of the block that holds a place of an epoch, and the block's first place."""
        _, ends = self._epoch_table(epoch)
        number = int(np.searchsorted(ends, place, side="right"))
        return number, int(ends[number - 1]) if number else 0

    def _members(self, epoch: int, number: int) -> IntArray:
        shards, _ = self._epoch_table(epoch)
        return shards[number * BLOCK_SHARDS : (number + 1) * BLOCK_SHARDS]

    def _shuffled(self, epoch: int, number: int) -> IntArray:
        """The shuffled windows `[n, 2]` of a block: shard and window."""
        block = self._block
        if block is None or block[0] != (epoch, number):
            self._block = block = (epoch, number), self._shuffle(self._members(epoch, number), epoch, number)
        return block[1]

    def _shuffle(self, shards: IntArray, epoch: int, number: int) -> IntArray:
        counts = self._windows[shards]
        visits = -(-counts // self._visit)
        first = self._visit * _numbers_within(visits)
        sizes = np.minimum(self._visit, np.repeat(counts, visits) - first)
        shuffled = permutation(len(sizes), *self._seeds, epoch, number)
        sizes = sizes[shuffled]
        windows = np.repeat(first[shuffled], sizes) + _numbers_within(sizes)
        return np.stack([np.repeat(np.repeat(shards, visits)[shuffled], sizes), windows], axis=1)


def _numbers_within(counts: IntArray) -> IntArray:
    """0, 1, ... count - 1 for each count, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


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


def permutation(count: int, *seeds: int) -> IntArray:
    """The numbers 0 to `count` - 1 shuffled by `seeds`, the same on every machine and for ever.

    Numbers are sorted by what the SplitMix64 generator gives them, which never gives the same to two.
    NumPy's own generators promise no such permanence to `shuffle` and `permutation` (NEP 19).

    >>> permutation(5, 0).tolist()
    [2, 0, 3, 1, 4]
    """
    numbers = np.arange(1, count + 1, dtype=np.uint64)
    return np.argsort(_mix(_seeded(seeds) + numbers * _GAMMA), kind="stable").astype(np.int64)


def draw(seeds: Sequence[int], shards: IntArray, windows: IntArray) -> DrawArray:
    """A random number of 64 bits for each window of an epoch, by what names it: uint64 `[n]`."""
    of_shard = _mix(_seeded(seeds) + (shards.astype(np.uint64) + np.uint64(1)) * _GAMMA)
    return _mix(of_shard + (windows.astype(np.uint64) + np.uint64(1)) * _GAMMA)


def next_draw(number: int) -> int:
    """The random number that follows another one."""
    return int(_mix(np.array([number], dtype=np.uint64) + _GAMMA)[0])


def _seeded(seeds: Sequence[int]) -> DrawArray:
    state = np.zeros(1, dtype=np.uint64)
    for seed in seeds:
        state = _mix(state + _GAMMA + np.uint64(seed % 2**64))
    return state


# SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's output for each state; arithmetic of unsigned arrays wraps, as it should."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))
