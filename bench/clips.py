"""Counts what a contender made: only whole clips are the work that is measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av

from shards.codec import CLIP_FRAMES


def whole_clips(paths: Iterable[Path]) -> int:
    """How many of these files hold exactly the frames of a clip."""
    return sum(_frames(path) == CLIP_FRAMES for path in paths)


def _frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
