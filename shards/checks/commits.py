"""Commits: each by itself, and against the catalog of a version that was made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shards.catalog import CLIPS, SETTINGS_KEY, VIDEOS, catalog_names, is_whole
from shards.checks.faults import Fault, first_of, guarded
from shards.checks.table import check_table
from shards.commits import COMMIT_SCHEMA, commit_name, read_commits
from shards.manifest import Version
from shards.records import CANDIDATE_SCHEMA
from shards.store import Store

_LARGEST_COMMIT_BYTES = 16_000_000
_INGESTED = "ingested"


def check_commits(store: Store, version: Version | None) -> Iterator[Fault]:
    """Every commit, gathered or not, by itself; then all against the catalog of a version.

    A dataset that was handed on without what is staged has no commits, and lacks none.
    """
    faults = list(_check_each(store))
    yield from faults
    if version and not faults and (store.list("commits") or store.list("commits/segments")):
        yield from first_of("commits", guarded("commits", _check_against(store, version)))


def _check_each(store: Store) -> Iterator[Fault]:
    for name in store.list("commits/segments"):
        yield from first_of(name, guarded(name, check_table(store, name, COMMIT_SCHEMA)))
    for name in store.list("commits"):
        if name.endswith(".json"):
            yield from first_of(name, guarded(name, _check_commit(store, name)))


def _check_commit(store: Store, name: str) -> Iterator[Fault]:
    size = store.size_bytes(name)
    if size > _LARGEST_COMMIT_BYTES:
        yield Fault(name, f"has {size} bytes", None, _LARGEST_COMMIT_BYTES, size)
        return
    data = store.read(name)
    place = 0
    for number, line in enumerate(data.splitlines(keepends=True)):
        end = place + len(line)
        problem = _commit_problem(name, line)
        if problem:
            yield Fault(name, problem, f"line {number + 1}", place, end)
        place = end
    if not data:
        yield Fault(name, "is empty")


def _commit_problem(name: str, line: bytes) -> str | None:
    try:
        row: Any = json.loads(line)
        rows = pa.Table.from_pylist([row], schema=COMMIT_SCHEMA)
        rows.validate(full=True)
        if set(row) != set(COMMIT_SCHEMA.names):
            return f"has other fields than {', '.join(COMMIT_SCHEMA.names)}"
        if json.dumps(row, sort_keys=True).encode() + b"\n" != line:
            return "is not as it was written"
    # What stands for a row may be anything.
    except Exception as error:
        return f"is no record: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}"
    named = f"commits/{commit_name(row['video_id'], row['settings'])}.json"
    if named != name:
        return f"is of video {row['video_id']!r} and settings {row['settings']!r}"
    if row["video"]["video_id"] != row["video_id"]:
        return f"tells of video {row['video']['video_id']!r}"
    stem = f"packs/{row['video_id']}-{row['settings']}-"
    if (row["state"] == _INGESTED) != bool(row["pack"]) or not (row["pack"] or stem).startswith(stem):
        return f"is {row['state']!r} with pack {row['pack']!r}"
    return None


def _check_against(store: Store, version: Version) -> Iterator[Fault]:
    """What the catalog says of an ingested video is what its commit says: both were written by then."""
    (videos, clips) = (
        [name for name in catalog_names(store, kind, version) if is_whole(name, store.read(name))]
        for kind in (VIDEOS, CLIPS)
    )
    if not (videos and clips):
        return  # told with the version
    settings = (store.read_table(clips[0], ["key"]).schema.metadata or {}).get(SETTINGS_KEY, b"").decode()
    commits = read_commits(store, settings).combine_chunks()
    told = store.read_table(videos[0])
    told = told.filter(pc.equal(told["state"], _INGESTED)).combine_chunks()
    row = pc.index_in(told["video_id"], value_set=commits["video_id"])
    for video_id in told.filter(pc.is_null(row))["video_id"].to_pylist():
        yield Fault(_object(store, video_id, settings), "is missing", f"ingested by {videos[0]}")
    told, committed = told.filter(pc.is_valid(row)), commits.take(row.drop_null())
    for column in CANDIDATE_SCHEMA.names:
        ours = pc.struct_field(committed["video"], column).cast(told.schema.field(column).type)
        if ours.combine_chunks().equals(told[column].combine_chunks()):
            continue
        rows = zip(told["video_id"].to_pylist(), ours.to_pylist(), told[column].to_pylist(), strict=True)
        for video_id, one, other in rows:
            if one != other:
                what = f"is {str(one)[:80]!r}, {videos[0]} says {str(other)[:80]!r}"
                yield Fault(_object(store, video_id, settings), what, f"video.{column}")


def _object(store: Store, video_id: str, settings: str) -> str:
    """The object with a commit: its own, unless it was gathered with others."""
    name = f"commits/{commit_name(video_id, settings)}.json"
    return name if store.exists(name) or not store.list("commits/segments") else "commits/segments"
