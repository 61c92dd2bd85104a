"""The catalog: a row for each video and each clip, with every decision, as Parquet.

`catalog/{videos,clips}/curated.parquet` is what the rules say now. Beside it stands what they said
when a version was published, which adds where every kept clip lies and never changes. It tells of
places and so is no part of the version; instead its name says which version it belongs to, by number
and hash, and the hash of its own bytes: `000001-<version>-<own>.parquet`. So it can be written before
the version is, and a run that another one overtakes leaves the other's catalog alone.
"""

from __future__ import annotations

import hashlib
import io

import pyarrow as pa

from shards.manifest import Version, list_versions, read_version
from shards.store import Store, write_parquet

VIDEOS = "videos"
CLIPS = "clips"

_HASH_CHARS = 8


def videos_name(_: None = None) -> str:
    """The object with the newest decision on the videos."""
    return _curated_name(VIDEOS)


def clips_name(_: None = None) -> str:
    """The object with the newest decision on the clips."""
    return _curated_name(CLIPS)


def catalog_names(store: Store, kind: str, version: Version) -> list[str]:
    """The objects with the videos or the clips of a version.

    There is one, unless a build was killed just before it published and its repetition, which
    published the same, knew of further videos; then each of them is true.
    """
    return [name for name in store.list(f"catalog/{kind}") if name.startswith(_stem(kind, version))]


def is_whole(name: str, data: bytes) -> bool:
    """Whether these are the bytes by which a version's catalog was named."""
    return name.endswith(f"-{_hash(data)}.parquet")


def write_catalog(store: Store, version: Version | None, videos: pa.Table, clips: pa.Table) -> None:
    """Write both tables of a version, or (None) of the newest decision."""
    for kind, table in ((VIDEOS, videos), (CLIPS, clips)):
        if version is None:
            store.put_table(_curated_name(kind), table)
        else:
            file = io.BytesIO()
            write_parquet(table, file)
            data = file.getvalue()
            store.create(f"{_stem(kind, version)}{_hash(data)}.parquet", data)


def read_clips(store: Store) -> pa.Table | None:
    """The clips with the newest decisions; those in the newest version also say where they lie.

    None if nothing was curated yet.
    """
    if not store.exists(clips_name()):
        return None
    curated = store.read_table(clips_name())
    if list_versions(store):
        decided = curated.drop_columns(["shard", "offset"])
        for name in catalog_names(store, CLIPS, read_version(store)):
            published = store.read_table(name)
            if published.drop_columns(["shard", "offset"]).equals(decided):
                return published
    return curated


def _curated_name(kind: str) -> str:
    return f"catalog/{kind}/curated.parquet"


def _stem(kind: str, version: Version) -> str:
    return f"catalog/{kind}/{version.number:06d}-{version.hash[:_HASH_CHARS]}-"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_HASH_CHARS]
