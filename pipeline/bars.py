"""Constant black bars around a picture.

A bar is black in every picture that was looked at, has a partner about as wide on the opposite side,
and has picture along at least half of its edge: a bright thing in the dark is no picture with bars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame

from shards.records import ContentBox

# In gray values from 0 to 255: coding noise in a black bar stays below, a dark scene does not.
_BLACK = 10
# So much of a line may be bright specks, and it is still part of a bar.
_MAX_SPECKS = 0.02
# So much of the line beside a bar has to be picture: a bright thing in the dark has no such edge.
_MIN_EDGE = 0.5
_MIN_BAR_SHARE = 0.02
_MIN_CONTENT_SHARE = 0.3


@dataclass(frozen=True)
class Bars:
    """What one picture has at its left, right, top and bottom.

    Attributes:
        lines: how many of them are black.
        edges: how many pixels of the first line behind them are not.
    """

    lines: tuple[int, ...]
    edges: tuple[float, ...]


def bars_of(look: VideoFrame) -> list[Bars]:
    """The black lines around one picture; none if all of it is black."""
    lit = look.reformat(format="gray", threads=1).to_ndarray() > _BLACK
    columns, rows = (np.flatnonzero(lit.mean(axis=axis) > _MAX_SPECKS) for axis in (0, 1))
    if not columns.size or not rows.size:
        return []
    left, right, top, bottom = int(columns[0]), int(columns[-1]), int(rows[0]), int(rows[-1])
    height, width = lit.shape
    # Two lines behind each bar: the very first may be blurred.
    behind = (lit[:, left : left + 2], lit[:, right - 1 : right + 1])
    below = (lit[top : top + 2], lit[bottom - 1 : bottom + 1])
    edges = [side.any(axis=1).sum() for side in behind] + [side.any(axis=0).sum() for side in below]
    return [Bars((left, width - 1 - right, top, height - 1 - bottom), tuple(float(edge) for edge in edges))]


def picture_box(bars: list[Bars], width: int, height: int) -> ContentBox:
    """The coded picture without the bars that lie on opposite sides of all its pictures."""
    whole = ContentBox(0, 0, width, height)
    if not bars:
        return whole
    left, right, top, bottom = (min(look.lines[side] for look in bars) for side in range(4))
    edges = [
        max(look.edges[side] for look in bars if look.lines[side] <= lines + 1)
        for side, lines in enumerate((left, right, top, bottom))
    ]
    left, right = _pair(left, right, width, min(edges[:2]) / (height - top - bottom))
    top, bottom = _pair(top, bottom, height, min(edges[2:]) / (width - left - right))
    box = ContentBox(left, top, width - left - right, height - top - bottom)
    if box.width < _MIN_CONTENT_SHARE * width or box.height < _MIN_CONTENT_SHARE * height:
        return whole
    return box


def _pair(first: int, after: int, size: int, edge: float) -> tuple[int, int]:
    """Lines to leave out on two opposite sides; none unless both are bars, and about equally wide."""
    thin = _MIN_BAR_SHARE * size
    if edge < _MIN_EDGE or min(first, after) < thin or abs(first - after) > max(2, thin):
        return 0, 0
    # Planes of colour have half the lines: places and sizes are even.
    first -= first % 2
    return first, after - (size - first - after) % 2
