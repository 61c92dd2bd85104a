"""A version as a whole: no clip twice, no video on two sides, and a catalog that says the same.

All of it is columns: of a million clips it takes a few hundred megabytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from shards.catalog import CLIPS, VIDEOS, catalog_names, is_whole
from shards.checks.faults import Fault, first_of, guarded
from shards.checks.table import check_table
from shards.checks.version import published_otherwise
from shards.index import index_name
from shards.manifest import Version
from shards.records import CLIP_SCHEMA, INDEX_SCHEMA, VIDEO_SCHEMA
from shards.store import Store

_KEPT = "kept"
_INGESTED = "ingested"
_DECISION = re.compile(r"kept|dropped:.+")
_STATE = re.compile(r"pending|ingested|(rejected|failed):\w+")

_CLIP_COLUMNS = ["video_id", "start_s", "n_frames", "unique_frames", "fps", "content_box", "size"]
_READ_COLUMNS = ["key", *_CLIP_COLUMNS, "offset"]
_LARGEST_BYTES = 4_000_000_000


def check_whole(store: Store, version: Version) -> Iterator[Fault]:
    """What no shard can tell by itself. An index that is not the version's is left out: its shard tells."""
    placed = _read_placed(store, version)
    yield from first_of(version.name, _check_keys(version, placed))
    for kind in (VIDEOS, CLIPS):
        names = catalog_names(store, kind, version)
        if not names and not published_otherwise(store, version):
            yield Fault(f"catalog/{kind}", f"that of {version.name} is missing")
        for name in names:
            yield from first_of(name, guarded(name, _check_catalog(store, kind, name, placed, version)))


def _read_placed(store: Store, version: Version) -> pa.Table:
    """Where every clip lies, by the indexes."""
    tables = []
    for shard in version.shards:
        try:
            with store.open(index_name(shard.name)) as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == shard.index_sha256
            if same and not any(check_table(store, index_name(shard.name), INDEX_SCHEMA)):
                table = store.read_table(index_name(shard.name), _READ_COLUMNS)
                for column in ("split", "shard"):
                    value = shard.split if column == "split" else shard.name
                    table = table.append_column(column, pa.repeat(pa.scalar(value, pa.string()), len(table)))
                tables.append(table)
        # What is damaged there was told with its shard.
        except Exception:  # noqa: S112
            continue
    columns = [*_READ_COLUMNS, "split", "shard"]
    return pa.concat_tables(tables).select(columns) if tables else _nothing().select(columns)


def _nothing() -> pa.Table:
    return CLIP_SCHEMA.empty_table()


def _check_keys(version: Version, placed: pa.Table) -> Iterator[Fault]:
    counts = pc.value_counts(placed["key"])
    often = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    for key in often.to_pylist():
        shards = placed.filter(pc.equal(placed["key"], key))["shard"].to_pylist()
        yield Fault(version.name, f"is in it {len(shards)} times: {', '.join(sorted(shards))}", key)
    sides = placed.group_by("video_id").aggregate([("split", "distinct")])
    for row in sides.filter(pc.greater(pc.list_value_length(sides["split_distinct"]), 1)).to_pylist():
        yield Fault(
            version.name, f"is in more than one split: {sorted(row['split_distinct'])}", row["video_id"]
        )


def _check_catalog(store: Store, kind: str, name: str, placed: pa.Table, version: Version) -> Iterator[Fault]:
    size = store.size_bytes(name)
    if size > _LARGEST_BYTES:
        yield Fault(name, f"has {size} bytes", None, _LARGEST_BYTES, size)
        return
    faults = list(check_table(store, name))
    yield from faults
    # Its own part of the name is the last that is written of it, and tells of rot that nothing else shows.
    if not is_whole(name, store.read(name)):
        if not faults:
            yield Fault(name, "its bytes are not those it is named by", None, 0, max(size, 1))
        return
    if faults:
        return
    table = store.read_table(name)
    fixed = VIDEO_SCHEMA if kind == VIDEOS else CLIP_SCHEMA
    if missing := [column for column in fixed.names if column not in table.column_names]:
        yield Fault(name, f"lacks the columns {', '.join(missing)}")
        return
    yield from (
        _check_videos(name, table, placed)
        if kind == VIDEOS
        else _check_clips(store, name, table, placed, version)
    )


def _check_videos(name: str, table: pa.Table, placed: pa.Table) -> Iterator[Fault]:
    yield from _check_words(name, table, "video_id", "state", _STATE)
    states = dict(zip(table["video_id"].to_pylist(), table["state"].to_pylist(), strict=True))
    for video_id in pc.unique(placed["video_id"]).to_pylist():
        if video_id not in states:
            yield Fault(name, "is not in it, though the version holds clips of it", video_id)
        elif states[video_id] != _INGESTED:
            yield Fault(name, f"is {states[video_id]}, though the version holds clips of it", video_id)


def _check_clips(
    store: Store, name: str, table: pa.Table, placed: pa.Table, version: Version
) -> Iterator[Fault]:
    yield from _check_words(name, table, "key", "decision", _DECISION)
    kept = table.filter(pc.equal(table["decision"], _KEPT))
    dropped = table.filter(pc.not_equal(table["decision"], _KEPT))
    for column in ("split", "shard", "offset"):
        for key in dropped.filter(pc.is_valid(dropped[column]))["key"].to_pylist():
            yield Fault(name, f"is dropped, and has a {column}", key)
    # Clips of a shard whose index cannot be read are not missed here.
    names = pa.array(sorted({shard.name for shard in version.shards}), pa.string())
    read = pc.unique(placed["shard"])
    unread = pc.and_(pc.is_in(kept["shard"], names), pc.invert(pc.is_in(kept["shard"], read)))
    kept = kept.filter(pc.invert(pc.fill_null(unread, fill_value=False)))
    row_in_placed = pc.index_in(kept["key"], value_set=placed["key"])
    for key in kept.filter(pc.is_null(row_in_placed))["key"].to_pylist():
        yield Fault(name, "is kept, and the version has no such clip", key)
    for key in placed.filter(pc.invert(pc.is_in(placed["key"], kept["key"])))["key"].to_pylist():
        yield Fault(name, "is in the version, and not kept here", key)
    both = kept.filter(pc.is_valid(row_in_placed))
    true = placed.take(row_in_placed.drop_null())
    for column in [*_CLIP_COLUMNS, "offset", "split", "shard"]:
        one, other = both[column].combine_chunks(), true[column].combine_chunks()
        if one.equals(other):
            continue
        for key, a, b in zip(both["key"].to_pylist(), one.to_pylist(), other.to_pylist(), strict=True):
            if a != b:
                yield Fault(name, f"its {column} is {a}, its index says {b}", key)
    for videos_name in catalog_names(store, VIDEOS, version):
        if any(check_table(store, videos_name)):
            continue
        known = store.read_table(videos_name, ["video_id"])["video_id"]
        for video_id in pc.unique(
            table.filter(pc.invert(pc.is_in(table["video_id"], known)))["video_id"]
        ).to_pylist():
            yield Fault(name, f"its video is not in {videos_name}", video_id)


def _check_words(name: str, table: pa.Table, key: str, column: str, word: re.Pattern[str]) -> Iterator[Fault]:
    counts = pc.value_counts(table[key])
    for twice in counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist():
        yield Fault(name, "has more than one row", str(twice))
    for value in pc.unique(table[column]).to_pylist():
        if value is None or not word.fullmatch(value):
            first = pc.index(table[column], value).as_py() if value is not None else 0
            yield Fault(name, f"its {column} is {value!r}", str(table[key][first]))
