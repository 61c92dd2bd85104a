"""The labelled clips of a dataset, as a backbone sees them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import groupby

import numpy as np

from filters.base import ClipFrames
from filters.classifier.backbones import Seen
from filters.classifier.look import Look, Pictures
from filters.labels import Labelled
from shards.index import decode_frames, read_clip, read_index, telling_damage
from shards.store import Store

OnClip = Callable[[int, int], None]
"""Is told how many clips of how many were read."""


class Clips:
    """Reads clips from their packs.

    Args:
        packs: video id -> the pack that holds its clips.
    """

    def __init__(self, store: Store, packs: Mapping[str, str]) -> None:
        self._store = store
        self._packs = packs
        self.keys_of = cache(self._keys_of)

    def _keys_of(self, video_id: str) -> Collection[str]:
        """The clips of a video; none if there is no such video."""
        if video_id not in self._packs:
            return frozenset()
        return frozenset(placed.clip.key for placed in read_index(self._store, self._packs[video_id]))

    def see(
        self, labelled: Sequence[Labelled], look: Look, see: Callable[[Pictures], Seen], on_clip: OnClip
    ) -> Seen:
        """What a backbone keeps of each clip, in their order, `[clips, N, ...]`.

        Args:
            labelled: sorted by key, so that the clips of a video follow each other.
            see: of the pictures of one clip, as `Backbone.see`.
        """
        # All of them take gigabytes, so they are never held twice.
        rows: Seen | None = None
        done = 0
        for video_id, of_video in groupby(labelled, lambda clip: clip.video_id):
            pack = self._packs[video_id]
            with telling_damage(self._store, pack):
                index = {placed.clip.key: placed for placed in read_index(self._store, pack)}
            for labelled_clip in of_video:
                placed = index[labelled_clip.key]
                with telling_damage(self._store, pack):
                    frames = decode_frames(read_clip(self._store, pack, placed))
                clip = placed.clip
                row = see(look.take(ClipFrames(frames, clip.content_box, clip.fps)))
                if rows is None:
                    rows = np.empty((len(labelled), *row.shape), row.dtype)
                rows[done] = row
                done += 1
                on_clip(done, len(labelled))
        assert rows is not None
        return rows
