"""The catalog: a row for each video and each clip, with every decision, as Parquet.

`catalog/{videos,clips}/curated.parquet` is what the rules say now; beside it stands one file for
each version, which adds where every kept clip lies and never changes.
"""

from __future__ import annotations

import pyarrow as pa

from shards.manifest import list_versions
from shards.store import Store

_CURATED = "curated"


def videos_name(version: int | None) -> str:
    """The object with the videos of a version, or (None) of the newest decision."""
    return f"catalog/videos/{_label(version)}.parquet"


def clips_name(version: int | None) -> str:
    """The object with the clips of a version, or (None) of the newest decision."""
    return f"catalog/clips/{_label(version)}.parquet"


def write_catalog(store: Store, version: int | None, videos: pa.Table, clips: pa.Table) -> None:
    """Write both tables of a version, or (None) of the newest decision."""
    store.put_table(videos_name(version), videos)
    store.put_table(clips_name(version), clips)


def read_clips(store: Store) -> pa.Table | None:
    """The clips with the newest decisions; those in the newest version also say where they lie.

    None if nothing was curated yet.
    """
    if not store.exists(clips_name(None)):
        return None
    curated = store.read_table(clips_name(None))
    versions = list_versions(store)
    if versions and store.exists(clips_name(versions[-1])):
        published = store.read_table(clips_name(versions[-1]))
        decided = published.drop_columns(["shard", "offset"])
        if decided.equals(curated.drop_columns(["shard", "offset"])):
            return published
    return curated


def _label(version: int | None) -> str:
    return _CURATED if version is None else f"{version:06d}"
