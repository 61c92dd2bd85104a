"""How much of the picture is bars that were not taken off when the clip was cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filters.base import ClipFrames, Scorer

# What a codec makes of a bar spreads over so many levels.
_SAME_LEVELS = 12
# So much of the line beside a bar has to be picture: a bright thing in the dark has no such edge.
_MIN_EDGE = 0.5
_EVERY = 16


class Letterbox(Scorer):
    """Share of the picture in bars of one colour on opposite sides.

    Bars that are black in the whole video are taken off before its clips are cut. What is left are
    bars that come and go (a cut scene, a tall clip in a compilation) and coloured ones. A bar is lines
    of one brightness from the edge inward, with a partner of the same brightness on the other side
    and picture along at least half of both inner edges, so that neither a sky nor a dark scene is one.
    Bars filled with a blurred picture are not seen. Looks at every sixteenth frame;
    costs under 1 ms a clip. A game's own walls of one colour count too: 0.09 in Procgen's climber.
    """

    name = "letterbox"
    version = 1
    ranges = {"letterbox": (0.0, 1.0)}

    def measure(self, clip: ClipFrames) -> dict[str, float]:
        """`letterbox`: 0 to 1, the mean over frames."""
        return {"letterbox": float(np.mean([_in_bars(picture) for picture in clip.luma[::_EVERY]]))}


def _in_bars(picture: npt.NDArray[np.uint8]) -> float:
    height, width = picture.shape
    down = _bar(picture)
    across = _bar(picture[down : height - down].T)
    shown = (height - 2 * down) * (width - 2 * across)
    return float(1 - shown / (height * width))


def _bar(picture: npt.NDArray[np.uint8]) -> int:
    """How many lines of the first and the last of `[h, w]` are bars."""
    if np.abs(picture[[0, -1]].astype(int) - int(picture[0, 0])).max() > _SAME_LEVELS:
        return 0
    level = float(picture[[0, -1]].mean())
    other = np.abs(picture - level) > _SAME_LEVELS
    lines = np.flatnonzero(other.any(axis=1))
    if not lines.size:
        return 0
    depth = int(min(lines[0], len(picture) - 1 - lines[-1]))
    # Two lines behind each bar: the very first may be blurred.
    inside = other[depth : len(picture) - depth]
    edges = inside[:2].any(axis=0).mean(), inside[-2:].any(axis=0).mean()
    return depth if min(edges) >= _MIN_EDGE else 0
