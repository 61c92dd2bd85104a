"""Candidates: what discovery found, kept by source, so that it is not asked for twice.

A feed shows its newest videos only; what was found once stays found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pyarrow as pa

from pipeline.sources.base import Source
from shards.records import CANDIDATE_SCHEMA, Video
from shards.store import Store


def discover(store: Store, source: Source, problem: Callable[[str], None]) -> int:
    """Look for videos and add them to the source's table; returns the number of new ones.

    Raises:
        SettingError: a setting of the source leads nowhere.
    """
    known = {video.video_id: video for video in read_candidates(store, [source])}
    found = merge(source.discover(problem))
    table = merge([*found.values(), *(video for key, video in known.items() if key not in found)])
    rows = [video.as_row() for _, video in sorted(table.items())]
    store.put_table(_table_name(source), pa.Table.from_pylist(rows, schema=CANDIDATE_SCHEMA))
    return len(found.keys() - known.keys())


def read_candidates(store: Store, sources: Iterable[Source]) -> list[Video]:
    """Every video found so far, each once."""
    names = [_table_name(source) for source in sources]
    rows = [row for name in names if store.exists(name) for row in store.read_table(name).to_pylist()]
    return list(merge(map(Video.from_row, rows)).values())


def merge(videos: Iterable[Video]) -> dict[str, Video]:
    """One video an id, with every place it was found."""
    merged: dict[str, Video] = {}
    for video in videos:
        first = merged.setdefault(video.video_id, video)
        places = tuple(sorted({*first.found_at, *video.found_at}))
        merged[video.video_id] = replace(first, found_at=places)
    return merged


def source_of(store: Store, sources: Iterable[Source]) -> dict[str, Source]:
    """Video id -> the first source that found it."""
    owners: dict[str, Source] = {}
    for source in sources:
        for video in read_candidates(store, [source]):
            owners.setdefault(video.video_id, source)
    return owners


def _table_name(source: Source) -> str:
    return f"candidates/{source.hash}.parquet"


def read_table(store: Store, sources: Iterable[Source]) -> pa.Table:
    """Every video found so far, as a table of `CANDIDATE_SCHEMA`."""
    rows = [video.as_row() for video in read_candidates(store, sources)]
    return pa.Table.from_pylist(rows, schema=CANDIDATE_SCHEMA)


def write_table(store: Store, source: Source, table: pa.Table) -> None:
    """Replace what is known of a source."""
    store.put_table(_table_name(source), table)
