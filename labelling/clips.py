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
    """A row for each curated clip, kept or dropped, with its video's channel, source, licence and game.

    A game is known by what the title calls it: the first of the config's title keywords in it, null where
    there is none. Two names of one game are two games.

    Raises:
        UserError: there is no dataset, nothing was curated yet, or there is no clip.
    """
    titles = read_config(store).titles
    clips = read_clips(store)
    if clips is None or not len(clips):
        what = "nothing was curated yet" if clips is None else "there are no clips"
        raise UserError(f"dataset {store.url}: {what}; `genieset build` does")
    videos = store.read_table(CURATED[VIDEOS], ["video_id", "title", *_OF_VIDEO])
    games = [titles.keyword(title) if titles else None for title in videos["title"].to_pylist()]
    videos = videos.append_column("game", pa.array(games, pa.string()))
    rows = pc.index_in(clips["video_id"], value_set=videos["video_id"])
    for name in (*_OF_VIDEO, "game"):
        clips = clips.append_column(name, videos[name].take(rows))
    return clips


def packs_of(store: Store, catalog: pa.Table) -> dict[str, str]:
    """The video of each clip of a catalog -> the pack that its clips are in."""
    commits = read_commits(store, catalog.schema.metadata[SETTINGS_KEY].decode())
    commits = commits.filter(pc.is_in(commits["video_id"], value_set=pc.unique(catalog["video_id"])))
    packs: dict[str, str] = {}
    for video_id, pack in zip(commits["video_id"].to_pylist(), commits["pack"].to_pylist(), strict=True):
        packs.setdefault(video_id, pack)
    return packs


class ClipReader:
    """Reads the mp4 of some clips, as they are stored; no others can be had from it.

    Args:
        catalog: of `read_catalog`.
        keys: the clips that may be read.
    """

    def __init__(self, store: Store, catalog: pa.Table, keys: Collection[str]) -> None:
        self._store = store
        self._keys = frozenset(keys)
        self._packs = packs_of(store, catalog)
        self._index = lru_cache(_INDEXES_KEPT)(self._read_index)

    def read(self, key: str) -> bytes | None:
        """The mp4 of a clip; None for one that is none of these.

        Raises:
            FileNotFoundError: its pack is gone.
            CodecError: it is damaged.
        """
        pack = self.pack(key)
        if pack is None:
            return None
        return read_clip(self._store, pack, self._index(pack)[key]).mp4

    def pack(self, key: str) -> str | None:
        """The pack that a clip is in; None for one that is none of these."""
        return self._packs[parse_key(key)[0]] if key in self._keys else None

    def packs(self) -> frozenset[str]:
        """The packs that these clips are in."""
        return frozenset(self._packs[parse_key(key)[0]] for key in self._keys)

    def _read_index(self, pack: str) -> Mapping[str, Placed]:
        return {placed.clip.key: placed for placed in read_index(self._store, pack)}
