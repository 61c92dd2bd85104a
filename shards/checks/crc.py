"""Which byte was changed, by CRC-32 alone.

A CRC is linear: that of the damaged bytes and that of the sound ones differ by what the damage alone would
give, its syndrome, which every byte behind it has moved on by a fixed step. Stepping back from the end
leads past each place where a single changed byte gives just this syndrome. For one changed bit there is one
such place in anything shorter than 2^32 bits, since the polynomial is primitive.
"""

from __future__ import annotations

from collections.abc import Iterator

_POLYNOMIAL = 0xEDB88320  # of zlib, bits reversed


def _table() -> list[int]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        entries.append(value)
    return entries


_TABLE = _table()
_BY_TOP = {entry >> 24: (entry, number) for number, entry in enumerate(_TABLE)}
_ONE_BYTE = {entry: number for number, entry in enumerate(_TABLE) if number}


def changed_bytes(found: int, expected: int, size: int) -> Iterator[tuple[int, int]]:
    """Each place and pattern such that changing this byte by XOR turns one CRC-32 into the other.

    Of a longer damage there may be some too, by chance (one in 2^32 a pattern and place).

    Args:
        found, expected: CRC-32 of the bytes as they are, and as they were.
        size: how many bytes these are.
    """
    syndrome = found ^ expected
    for place in range(size - 1, -1, -1):
        if syndrome in _ONE_BYTE:
            yield place, _ONE_BYTE[syndrome]
        entry, low = _BY_TOP[syndrome >> 24]
        syndrome = ((syndrome ^ entry) << 8 | low) & 0xFFFFFFFF
