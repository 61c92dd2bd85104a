"""Counts what a contender made: only whole clips are the work that is measured."""

from __future__ import annotations

from pathlib import Path

import av

from shards.codec import CLIP_FRAMES
from shards.index import read_index
from shards.store import Store


def whole_clips(folder: Path) -> int:
    """How many clips of exactly so many frames lie in a folder: as files, or in a dataset's packs."""
    store = Store(folder)
    packs = [name for name in store.list("packs") if name.endswith(".tar")]
    packed = [placed for pack in packs for placed in read_index(store, pack)]
    files = [_frames(path) for path in folder.rglob("*.mp4")]
    return [*files, *(len(placed.packet_sizes) for placed in packed)].count(CLIP_FRAMES)


def _frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
