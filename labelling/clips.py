"""The clips that may be shown: the catalog with what is known of their videos, and their bytes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.build import read_config
from shards.catalog import CURATED, SETTINGS_KEY, VIDEOS, read_clips
from shards.commits import read_commits
from shards.errors import UserError
from shards.index import read_clip, read_index
from shards.keys import parse_key
from shards.records import Placed
from shards.store import Store

_INDEXES_KEPT = 128
_OF_VIDEO = ("channel", "source", "licence")


def read_catalog(store: Store) -> pa.Table:
    """A row for each curated clip, kept or dropped, with its video's channel, source and licence.

    Raises:
        UserError: there is no dataset, nothing was curated yet, or there is no clip.
    """
    read_config(store)
    clips = read_clips(store)
    if clips is None or not len(clips):
        what = "nothing was curated yet" if clips is None else "there are no clips"
        raise UserError(f"dataset {store.url}: {what}; `genieset build` does")
    videos = store.read_table(CURATED[VIDEOS], ["video_id", *_OF_VIDEO])
    rows = pc.index_in(clips["video_id"], value_set=videos["video_id"])
    for name in _OF_VIDEO:
        clips = clips.append_column(name, videos[name].take(rows))
    return clips


class ClipReader:
    """Reads the mp4 of some clips, as they are stored; no others can be had from it.

    Args:
        catalog: of `read_catalog`.
        keys: the clips that may be read.
    """

    def __init__(self, store: Store, catalog: pa.Table, keys: Collection[str]) -> None:
        self._store = store
        self._keys = frozenset(keys)
        videos = pa.array(sorted({parse_key(key)[0] for key in keys}), pa.string())
        commits = read_commits(store, catalog.schema.metadata[SETTINGS_KEY].decode())
        commits = commits.filter(pc.is_in(commits["video_id"], value_set=videos))
        self._packs: dict[str, str] = {}
        for video_id, pack in zip(commits["video_id"].to_pylist(), commits["pack"].to_pylist(), strict=True):
            self._packs.setdefault(video_id, pack)
        self._index = lru_cache(_INDEXES_KEPT)(self._read_index)

    def read(self, key: str) -> bytes | None:
        """The mp4 of a clip; None for one that is none of these.

        Raises:
            FileNotFoundError: its pack is gone.
            CodecError: it is damaged.
        """
        if key not in self._keys:
            return None
        pack = self._packs[parse_key(key)[0]]
        return read_clip(self._store, pack, self._index(pack)[key]).mp4

    def _read_index(self, pack: str) -> Mapping[str, Placed]:
        return {placed.clip.key: placed for placed in read_index(self._store, pack)}
