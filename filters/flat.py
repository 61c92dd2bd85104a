"""How much of the time the picture is black or empty."""

from __future__ import annotations

import numpy as np

from filters.base import ClipFrames, Scorer

# ffmpeg's blackdetect, with its defaults: 98 % of the pixels are darker than a tenth of the range.
_BLACK = 16 + round(0.1 * (235 - 16))
_BLACK_PIXELS = 0.98
# What a codec makes of one colour spreads over so many levels to either side.
_SAME_LEVELS = 2
_EMPTY_PIXELS = 0.98
_EVERY = 8


class Flat(Scorer):
    """Black frames, frames of one colour, and how much of the picture its commonest colour fills.

    Loading screens and fades are black, cards are one colour with a few words on it; the sky of a
    platformer fills a half. Colours are told apart by brightness alone, in every eighth frame.
    Costs 1 ms a clip.
    """

    name = "flat"
    version = 1
    ranges = {"black_share": (0.0, 1.0), "flat_share": (0.0, 1.0), "one_colour": (0.0, 1.0)}

    def measure(self, clip: ClipFrames) -> dict[str, float]:
        """`black_share`, `flat_share`: of the frames; `one_colour`: of the picture, the mean; 0 to 1."""
        frames = clip.luma[::_EVERY].reshape(len(clip.luma[::_EVERY]), -1)
        # One histogram for all frames: each counts in 256 places of its own.
        own = frames + 256 * np.arange(len(frames), dtype=np.int32)[:, None]
        levels = np.bincount(own.ravel(), minlength=256 * len(frames)).reshape(-1, 256)
        summed = np.pad(np.cumsum(levels, axis=1), ((0, 0), (1, 0)))
        reach = 2 * _SAME_LEVELS + 1
        commonest = (summed[:, reach:] - summed[:, :-reach]).max(axis=1) / frames.shape[1]
        black = summed[:, _BLACK + 1] / frames.shape[1] >= _BLACK_PIXELS
        return {
            "black_share": float(black.mean()),
            "flat_share": float((commonest >= _EMPTY_PIXELS).mean()),
            "one_colour": float(commonest.mean()),
        }
