"""Clips by their keys: what the catalog knows of them, and the bytes, in a shard or still in a pack."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shards.catalog import CLIPS, SETTINGS_KEY, VIDEOS
from shards.codec import EncodedClip
from shards.commits import read_commits
from shards.errors import UserError
from shards.index import index_name, read_clip, read_index
from shards.records import CLIP_SCHEMA, Placed
from shards.store import Store


@dataclass(frozen=True)
class Found:
    """A clip.

    Attributes:
        video: its video's row of the catalog.
        clip: its row of the catalog of clips, without the scores.
        scores: score -> value.
        tar: the shard or pack that holds it.
        placed: where in it.
    """

    video: dict[str, Any]
    clip: dict[str, Any]
    scores: dict[str, float]
    tar: str
    placed: Placed

    def read(self, store: Store) -> EncodedClip:
        """Its bytes, checked against the index.

        Raises:
            CodecError: they are not those that were written.
        """
        return read_clip(store, self.tar, self.placed)


def look_up(store: Store, views: dict[str, pa.Table], keys: Collection[str]) -> Iterator[Found]:
    """Find clips, kept or dropped, tar by tar and in the order of each.

    Args:
        views: the catalog, as of `shards.query.read_views`.

    Raises:
        UserError: there is no clip of one of the keys, its pack is gone, or an index has no row of it.
    """
    clips = views[CLIPS]
    wanted = clips.filter(pc.is_in(clips["key"], value_set=pa.array(list(keys), pa.string())))
    rows = {row["key"]: row for row in wanted.to_pylist()}
    for key in keys:
        if key not in rows:
            raise UserError(f"dataset {store.url}: no clip {key!r}; {_near(key, clips)}")
    ids = pa.array([row["video_id"] for row in rows.values()], pa.string())
    videos = views[VIDEOS].filter(pc.is_in(views[VIDEOS]["video_id"], value_set=ids)).to_pylist()
    told = {video["video_id"]: video for video in videos}
    for tar, held in sorted(_by_tar(store, clips, rows).items()):
        missing = set(held)
        for placed in read_index(store, tar):
            if placed.clip.key in missing:
                missing.remove(placed.clip.key)
                row = rows[placed.clip.key]
                yield Found(
                    video=told[row["video_id"]],
                    clip={name: value for name, value in row.items() if name in CLIP_SCHEMA.names},
                    scores={name: value for name, value in row.items() if name not in CLIP_SCHEMA.names},
                    tar=tar,
                    placed=placed,
                )
        if missing:
            raise UserError(
                f"{store.where(index_name(tar))}: has no row of {min(missing)}, which lies in {tar} by the "
                "catalog; bring it back from a copy; `genieset verify` names all damage"
            )


def _by_tar(store: Store, clips: pa.Table, rows: dict[str, dict[str, Any]]) -> dict[str, set[str]]:
    """Tar -> the keys in it: the shard where the catalog names one that is there, else the pack."""
    held: dict[str, set[str]] = {}
    unpublished = []
    there = {name: store.exists(name) for name in {row["shard"] for row in rows.values()} if name}
    for key, row in rows.items():
        if there.get(row["shard"]):
            held.setdefault(row["shard"], set()).add(key)
        else:
            unpublished.append((key, row["video_id"]))
    packs = _packs(store, clips) if unpublished else {}
    for key, video_id in unpublished:
        pack = packs.get(video_id)
        if pack is None or not store.exists(pack):
            raise UserError(
                f"dataset {store.url}: the pack of {video_id} is gone; `genieset build` makes it again"
            )
        held.setdefault(pack, set()).add(key)
    return held


def _packs(store: Store, clips: pa.Table) -> dict[str, str]:
    settings = (clips.schema.metadata or {}).get(SETTINGS_KEY, b"").decode()
    commits = read_commits(store, settings)
    # The first commit of a video is the one that counts.
    pairs = zip(commits["video_id"].to_pylist(), commits["pack"].to_pylist(), strict=True)
    packs: dict[str, str] = {}
    for video_id, pack in pairs:
        if pack is not None:
            packs.setdefault(video_id, pack)
    return packs


def _near(key: str, clips: pa.Table) -> str:
    near = get_close_matches(key, clips["key"].to_pylist(), n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {len(clips)} clips, the first is {clips['key'][0] if len(clips) else 'none'}"
