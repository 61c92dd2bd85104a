"""Candidates: what discovery found, kept by source, so that it is not asked for twice.

A feed shows its newest videos only; what was found once stays found. Beside what is known of every
video stands, in the column `info`, all else that was said of it, so that rules can be tuned without
asking a site again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.page_info import info_text
from pipeline.sources.base import Found, Source
from shards.records import CANDIDATE_SCHEMA, Video
from shards.store import Store
from shards.tombstones import forgotten_ids

TABLE_SCHEMA = CANDIDATE_SCHEMA.append(pa.field("info", pa.string()))
"""A row for each discovered video; `info` is fields of yt-dlp's info dict as JSON."""


def discover(
    store: Store,
    source: Source,
    problem: Callable[[str], None],
    pause_s: Callable[[str], float] = lambda _: 0.0,
) -> int:
    """Look for videos and add them to the source's table; returns the number of new ones.

    Those that were forgotten are passed over.

    Args:
        problem: is told, in one line, of each part of the source that could not be read.
        pause_s: how long to wait between two requests to a site.

    Raises:
        SettingError: a setting of the source leads nowhere.
    """
    forgotten = forgotten_ids(store)
    before = _without(_read(store, source), forgotten)
    known = set(before["video_id"].to_pylist())
    found: dict[str, Found] = {}
    for seen in source.discover(problem, known | forgotten, pause_s):
        if seen.video.video_id in forgotten:
            continue
        earlier = found.get(seen.video.video_id)
        found[seen.video.video_id] = _told_again(seen, earlier) if earlier else seen
    again = pc.is_in(before["video_id"], value_set=pa.array(found, pa.string()))
    for row in before.filter(again).to_pylist():
        old = Found(Video.from_row(row), row["info"])
        found[old.video.video_id] = _told_again(old, found[old.video.video_id])
    rows = [seen.video.as_row() | {"info": seen.info} for seen in found.values()]
    table = pa.concat_tables(
        [before.filter(pc.invert(again)), pa.Table.from_pylist(rows, schema=TABLE_SCHEMA)]
    )
    write_table(store, source, table.sort_by("video_id"))
    return len(found.keys() - known)


def read_table(store: Store, sources: Iterable[Source]) -> pa.Table:
    """Every video found so far and not forgotten: a table of `TABLE_SCHEMA`, one row a video, sorted by id.

    What several sources found is as the first of them tells it, with every place where it was found.
    """
    table = pa.concat_tables([TABLE_SCHEMA.empty_table(), *(_read(store, source) for source in sources)])
    table = _without(table, forgotten_ids(store))
    counts = pc.value_counts(table["video_id"])
    often = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(often):
        twice = pc.is_in(table["video_id"], value_set=often)
        merged: dict[str, Found] = {}
        for row in table.filter(twice).to_pylist():
            video = Video.from_row(row)
            first = merged.setdefault(video.video_id, Found(video, row["info"]))
            merged[video.video_id] = replace(first, video=_found_at_both(first.video, video))
        rows = [found.video.as_row() | {"info": found.info} for found in merged.values()]
        table = pa.concat_tables(
            [table.filter(pc.invert(twice)), pa.Table.from_pylist(rows, schema=TABLE_SCHEMA)]
        )
    return table.sort_by("video_id").combine_chunks()


def knows(store: Store, source: Source) -> bool:
    """Whether a source has found a video already."""
    return len(_read(store, source, ["video_id"])) > 0


def listed_ids(store: Store) -> pa.ChunkedArray:
    """The ids of all videos that any source found, whether a config has that source still or not."""
    names = [name for name in store.list("candidates") if name.endswith(".parquet")]
    tables = [store.read_table(name, ["video_id"]) for name in names]
    return pa.concat_tables([TABLE_SCHEMA.empty_table().select(["video_id"]), *tables])["video_id"]


def source_of(store: Store, sources: Iterable[Source]) -> dict[str, Source]:
    """Video id -> the first source that found it."""
    owners: dict[str, Source] = {}
    for source in reversed(list(sources)):
        owners |= dict.fromkeys(_read(store, source, ["video_id"])["video_id"].to_pylist(), source)
    return owners


def write_table(store: Store, source: Source, table: pa.Table) -> None:
    """Replace what is known of a source.

    Args:
        table: of `CANDIDATE_SCHEMA`, with or without the column `info`.
    """
    store.put_table(_table_name(source), _with_info(table))


def _read(store: Store, source: Source, columns: list[str] | None = None) -> pa.Table:
    name = _table_name(source)
    if not store.exists(name):
        return TABLE_SCHEMA.empty_table()
    table = store.read_table(name, columns)
    return table if columns else _with_info(table)


def _without(table: pa.Table, video_ids: frozenset[str]) -> pa.Table:
    if not video_ids:
        return table
    return table.filter(pc.invert(pc.is_in(table["video_id"], value_set=pa.array(video_ids, pa.string()))))


def _with_info(table: pa.Table) -> pa.Table:
    if "info" not in table.column_names:
        table = table.append_column("info", pa.nulls(len(table), pa.string()))
    return table.select(TABLE_SCHEMA.names).cast(TABLE_SCHEMA)


def _told_again(old: Found, new: Found) -> Found:
    """What is said now; where nothing is said now, what was said before."""
    told = {name: value for name, value in vars(new.video).items() if value is not None}
    video = _found_at_both(replace(old.video, **told), old.video)
    if not (old.info and new.info):
        return Found(video, new.info or old.info)
    return Found(video, info_text(json.loads(old.info) | json.loads(new.info)))


def _found_at_both(video: Video, other: Video) -> Video:
    return replace(video, found_at=tuple(sorted({*video.found_at, *other.found_at})))


def _table_name(source: Source) -> str:
    return f"candidates/{source.hash}.parquet"
