"""What a version's shards hold: the layout that the next version keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from shards.ahead import in_order
from shards.catalog import CLIPS, catalog_names
from shards.index import CONTENT, CONTENT_TYPE, contents, index_name
from shards.manifest import ShardEntry, Version
from shards.records import CLIP_SCHEMA
from shards.store import Store
from shards.tables import parse_table


def read_parent(store: Store, version: Version) -> Iterator[tuple[ShardEntry, pa.Array, pa.Array, bool]]:
    """The shards of a version: keys and content of their clips in order, and whether tar and index are there.

    Where an index is gone or damaged, the catalog of the version knows which clips the shard had, and their
    content is null; see `pipeline.layout.Held`.
    """
    catalog = None
    held = in_order(store, lambda entry: _held(store, entry), version.shards)
    for entry, known in zip(version.shards, held, strict=True):
        if known:
            yield entry, *known
            continue
        if catalog is None:
            catalog = _cataloged(store, version)
        mine = catalog.filter(pc.equal(catalog["shard"], entry.name)).sort_by("offset")
        yield entry, mine["key"].combine_chunks(), pa.nulls(len(mine), CONTENT_TYPE), False


def _held(store: Store, entry: ShardEntry) -> tuple[pa.Array, pa.Array, bool] | None:
    """What the index of a shard tells; None if it is gone or damaged. Two requests to a bucket."""
    try:
        data = store.read(index_name(entry.name))
    except FileNotFoundError:
        return None
    if hashlib.sha256(data).hexdigest() != entry.index_sha256:
        return None
    rows = parse_table(data, ["key", *CONTENT])
    try:
        there = store.size_bytes(entry.name) == entry.bytes
    except FileNotFoundError:
        there = False
    return rows["key"].combine_chunks(), contents(rows), there


def _cataloged(store: Store, version: Version) -> pa.Table:
    """Key, shard and offset of each clip of a version, as far as its catalog is there."""
    columns = ["key", "shard", "offset"]
    # They agree on what is published.
    for name in catalog_names(store, CLIPS, version)[:1]:
        return store.read_table(name, columns)
    return CLIP_SCHEMA.empty_table().select(columns)
