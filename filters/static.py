"""How much of the time nothing moves at all."""

from __future__ import annotations

import numpy as np

from filters.base import ClipFrames, Scorer

# What codecs do to a still picture stays below; a sprite of 3x3 pixels that moves lies above.
_MIN_STEP = 16
_MIN_PIXELS = 6


class Static(Scorer):
    """Share of the clip in which no pixel to speak of changes: a pause, a title card, a slide.

    `motion` is a mean, so that a busy half and a frozen half look like a slow clip; and a small sprite
    that walks over a still background is play, however small the mean. Here a step from one frame to
    the next stands still if fewer than 6 pixels of the 160x90 change by 16 of 255 levels. Freeze
    detection, as of ffmpeg's `freezedetect`, with a count of pixels for its mean. Costs 1 ms a
    clip.
    """

    name = "static"
    version = 1
    ranges = {"static_share": (0.0, 1.0), "static_longest": (0.0, 1.0)}

    def measure(self, clip: ClipFrames) -> dict[str, float]:
        """`static_share`: still steps of all; `static_longest`: the longest run of them; 0 to 1."""
        moved = np.count_nonzero(clip.luma_steps >= _MIN_STEP, axis=(1, 2)) >= _MIN_PIXELS
        if not moved.size:
            return {"static_share": 0.0, "static_longest": 0.0}
        ends = np.flatnonzero(np.concatenate(([True], moved, [True])))
        longest = int(np.diff(ends).max()) - 1
        return {"static_share": float(1 - moved.mean()), "static_longest": longest / moved.size}
