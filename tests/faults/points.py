"""At which of its operations a piece of work is killed: at each one, or at a sample of them."""

from __future__ import annotations

from collections.abc import Sequence

# Between the moment a version's catalog is there and the moment its name is, and a little beyond.
_AROUND_A_VERSION = 3
_OTHERS = 6


def kill_points(operations: Sequence[str], every: bool) -> list[int]:
    """The numbers of the operations to be killed at, counted from 1, in order.

    The sample is the same each time: the first and the last, all that name a version with the three
    before and after them, and every sixth of the rest of the way.

    Args:
        operations: what the work does when nobody kills it, in order.
        every: no sample, but each one; `--every-kill`.
    """
    numbers = range(1, len(operations) + 1)
    if every:
        return list(numbers)
    versions = [number for number in numbers if "versions/" in operations[number - 1]]
    chosen = {1, len(operations), *numbers[::_OTHERS]}
    for version in versions:
        chosen |= set(range(version - _AROUND_A_VERSION, version + _AROUND_A_VERSION + 1))
    return sorted(chosen & set(numbers))
