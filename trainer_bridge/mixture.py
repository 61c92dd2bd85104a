"""A mixture of several orders: which of them each position is taken from, as a schedule without memory.

Weights are exact fractions, so that the schedule has a period, and a table of one period says of any
position where it comes from and how many came from there before. Within a period it is Tijdeman's:
after any number of positions no order has had a whole position more or less than its weight says.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from shards.errors import UserError
from trainer_bridge.order import IntArray, WindowOrder, WindowPlace, permutation

LONGEST_PERIOD = 100_000
"""Weights whose schedule repeats only after more positions are refused."""


class MixedOrder:
    """Several orders as one.

    Args:
        orders: each with windows.
        weights: of each order, > 0; 3 and 1 are the same as 0.75 and 0.25.
        seed: decides who comes first where weights leave it open.

    Raises:
        UserError: a weight is not above 0, or weights are too fine.
    """

    def __init__(self, orders: Sequence[WindowOrder], weights: Sequence[float], seed: int) -> None:
        self._orders = orders
        self.shares = whole_shares(weights)
        self._before = counts_before(self.shares, seed)

    def locate(self, positions: range) -> list[WindowPlace]:
        """The windows at consecutive positions, those of one order together."""
        places: list[WindowPlace] = []
        first, last = self._taken(positions.start), self._taken(positions.stop)
        for order, start, stop in zip(self._orders, first, last, strict=True):
            if stop > start:
                places += order.locate(range(start, stop))
        return places

    def ahead(self, position: int, rank: int, world_size: int) -> list[tuple[int, int]]:
        """The shards that a rank will mostly read from: (part, shard), those of this block first.

        Ranks share out each batch sorted by place, and a batch is an even sample of its blocks, so each
        rank reads from its own stretch of their shards.
        """
        blocks = [
            order.blocks_from(taken) for order, taken in zip(self._orders, self._taken(position), strict=True)
        ]
        found: dict[tuple[int, int], None] = {}
        for at_once in zip(*blocks, strict=True):
            masses = {
                (part, shard): self.shares[part] * windows / sum(block.values())
                for part, block in enumerate(at_once)
                for shard, windows in block.items()
            }
            ends = np.cumsum(list(masses.values())) / sum(self.shares)
            first, last = np.searchsorted(ends, [rank / world_size, (rank + 1) / world_size - 1e-9])
            # One more at either end, as a batch is not quite even.
            found |= dict.fromkeys(list(masses)[max(first - 1, 0) : last + 2])
        return list(found)

    def most_in(self, count: int) -> list[int]:
        """How many of `count` consecutive positions each order has at most."""
        return [-(-count * share // sum(self.shares)) + 1 for share in self.shares]

    def _taken(self, position: int) -> list[int]:
        """How many of the positions before this one each order had."""
        periods, place = divmod(position, sum(self.shares))
        before: list[int] = self._before[place].tolist()
        return [periods * share + more for share, more in zip(self.shares, before, strict=True)]


def whole_shares(weights: Sequence[float]) -> list[int]:
    """The smallest whole numbers in the proportion of weights; their sum is the period.

    A weight is meant as it is written: 0.1 is a tenth.

    Raises:
        UserError: a weight is not a number above 0, or the period is above `LONGEST_PERIOD`.

    >>> whole_shares([0.7, 0.3])
    [7, 3]
    """
    for weight in weights:
        if isinstance(weight, str | None) or not 0 < weight < float("inf"):
            raise UserError(f"weights: {weight!r} is not a number above 0; leave out what has no weight")
    exact = [Fraction(repr(float(weight))) for weight in weights]
    scale = lcm(*(weight.denominator for weight in exact))
    shares = [int(weight * scale) for weight in exact]
    shares = [share // gcd(*shares) for share in shares]
    if sum(shares) > LONGEST_PERIOD:
        raise UserError(
            f"weights: {', '.join(map(str, weights))} repeat only after {sum(shares):,} windows; give "
            f"weights of fewer digits, or whole numbers whose sum is at most {LONGEST_PERIOD:,}"
        )
    return shares


def counts_before(shares: Sequence[int], seed: int) -> IntArray:
    """How many positions each order had before each place of a period: int64 `[period + 1, orders]`.

    At every place the order is taken that is the first to fall a whole position behind among those that
    have not run ahead: R. Tijdeman, "The chairman assignment problem" (Discrete Mathematics 32, 1980),
    which keeps every order within 1 - 1 / (2 * orders - 2) of its share.
    """
    period, count = sum(shares), len(shares)
    before = np.zeros((period + 1, count), dtype=np.int64)
    if count == 1:
        before[:, 0] = np.arange(period + 1)
        return before
    share = np.array(shares, dtype=np.int64)
    turn = permutation(count, seed)
    slack = 2 * count - 2
    taken = np.zeros(count, dtype=np.int64)
    # All in units of 1 / (period * slack) of a position, so that nothing is rounded.
    for place in range(1, period + 1):
        due = slack * (share * place - period * taken)
        waiting = np.flatnonzero(due >= period)
        # The first later place at which it would be 1 - 1 / slack behind.
        latest = -(-(period * (slack - 1) + slack * period * taken[waiting]) // (slack * share[waiting]))
        chosen = waiting[np.lexsort((turn[waiting], latest))[0]]
        taken[chosen] += 1
        before[place] = taken
    return before
