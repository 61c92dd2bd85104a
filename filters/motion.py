"""How much the picture moves."""

from __future__ import annotations

from filters.base import ClipFrames, Scorer


class Motion(Scorer):
    """Mean change of luma from frame to frame, over the clip.

    0 is a still; a player that stands and waits stays under 0.004; a scrolling platformer lies at
    0.02 to 0.1. The simplest of the motion measures in use (Cosmos and Panda-70M threshold optical
    flow or motion vectors for the same purpose): at 160x90 it separates play from pause, and it
    costs under 2 ms a clip.
    """

    name = "motion"
    version = 1
    ranges = {"motion": (0.0, 1.0)}

    def measure(self, clip: ClipFrames) -> dict[str, float]:
        """`motion`: 0 (still) to 1."""
        return {"motion": float(clip.luma_change.mean()) if clip.luma_change.size else 0.0}
