"""Damage of indexes, versions, catalogs and what is staged: rows and fields that are not what they were."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa

from shards.catalog import CLIPS, VIDEOS
from shards.index import index_name
from shards.store import Store, write_parquet
from tests.pipeline.verify.planting import (
    VERSION,
    Plant,
    Planted,
    catalog_of,
    commit_of,
    index_of,
    pack_of,
    scores_of,
    version_of,
    with_last,
)

OF_COLUMNS = {
    "an offset": "offset",
    "a size": "size",
    "a crc": "crc32",
    "a group's crc": "gop_crc32",
    "packet sizes": "packet_sizes",
    "extradata": "extradata",
    "a number of frames": "n_frames",
    "a rate": "fps",
    "the size of groups": "gop_frames",
    "a content box": "content_box",
    "a start": "start_s",
    "a key": "key",
}


INDEX_CHANGES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "an offset changed": with_last("offset", lambda offset: offset + 512),
    "a size changed": with_last("size", lambda size: size + 1),
    "a crc changed": with_last("crc32", 1),
    "a group's crc changed": with_last("gop_crc32", lambda crcs: [*crcs[:-1], crcs[-1] ^ 1]),
    "packet sizes changed": with_last("packet_sizes", lambda sizes: [sizes[0] + 1, sizes[1] - 1, *sizes[2:]]),
    "extradata changed": with_last("extradata", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "a number of frames changed": with_last("n_frames", 16),
    "a rate changed": with_last("fps", 30.0),
    "the size of groups changed": with_last("gop_frames", 8),
    "a content box changed": with_last("content_box", [0, 0, 16, 16]),
    "a start changed": with_last("start_s", 1.5),
    "a key changed": with_last("key", "file-x_00000000"),
    "a row dropped": lambda table: table.slice(1),
    "rows reordered": lambda table: table.take(list(range(len(table)))[::-1]),
    "a row twice": lambda table: pa.concat_tables([table, table.slice(0, 1)]),
    "no rows": lambda table: table.slice(0, 0),
    "a group's crc less": with_last("gop_crc32", lambda crcs: crcs[:-1]),
    "a column less": lambda table: table.drop_columns(["crc32"]),
}


def change_index(change: Callable[[pa.Table], pa.Table], at: str) -> Plant:
    def plant(store: Store) -> Planted:
        name = index_of(store)
        store.put_table(name, change(store.read_table(name)))
        return Planted(name, at=at)

    return plant


def index_of_another(store: Store) -> Planted:
    one, other = (index_name(shard.name) for shard in version_of(store).shards[:2])
    store.put(one, store.read(other))
    return Planted(one)


def _edit_version(store: Store, edit: Callable[[dict[str, Any]], None]) -> Planted:
    body = json.loads(store.read(VERSION))
    edit(body)
    store.put(VERSION, json.dumps(body, sort_keys=True, indent=1).encode() + b"\n")
    return Planted(VERSION)


def _other(value: Any) -> Any:
    match value:
        case None:
            return 1
        case int():
            return value + 1
        case str():
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        case dict():
            return {key: _other(one) for key, one in value.items()}
    return value[:-1]


def change_shard_field(field: str) -> Plant:
    def edit(body: dict[str, Any]) -> None:
        shard = body["shards"][0]
        shard[field] = _other(shard[field])
        if field == "samples":
            body["splits"][shard["split"]] += 1
        if field == "split":
            body["splits"] = dict(Counter({one["split"]: 0 for one in body["shards"]}))
            for one in body["shards"]:
                body["splits"][one["split"]] += one["samples"]

    return lambda store: replace(_edit_version(store, edit), at=f"shards[0].{field}")


def change_field(field: str) -> Plant:
    def edit(body: dict[str, Any]) -> None:
        body[field] = body[field] | {"more": 1} if field == "recipe" else _other(body[field])

    return lambda store: _edit_version(store, edit)


def drop_shard(store: Store) -> Planted:
    def edit(body: dict[str, Any]) -> None:
        gone = body["shards"].pop()
        body["splits"][gone["split"]] -= gone["samples"]
        body["splits"] = {split: count for split, count in body["splits"].items() if count}

    return _edit_version(store, edit)


def no_json(store: Store) -> Planted:
    data = store.read(VERSION)
    place = data.index(b'"shards"')
    store.put(VERSION, data[:place] + b"}" + data[place + 1 :])
    return Planted(VERSION, place, place + 1)


def _rename(store: Store, name: str, table: pa.Table) -> Planted:
    """A catalog of other rows, under the name that these have."""
    file = io.BytesIO()
    write_parquet(table, file)
    store.remove(name)
    stem = name.removesuffix(".parquet").rpartition("-")[0]
    new = f"{stem}-{hashlib.sha256(file.getvalue()).hexdigest()[:8]}.parquet"
    store.put(new, file.getvalue())
    return Planted(new)


def _first_kept(column: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        row = next(row for row in rows if row["decision"] == "kept")
        row[column] = value(row[column]) if callable(value) else value
        return pa.Table.from_pylist(rows, schema=table.schema)

    return change


CATALOG_CHANGES: dict[str, tuple[str, Callable[[pa.Table], pa.Table]]] = {
    "a decision changed": (CLIPS, _first_kept("decision", "dropped:static")),
    "a decision that is none": (CLIPS, _first_kept("decision", "perhaps")),
    "an offset changed": (CLIPS, _first_kept("offset", lambda offset: offset + 512)),
    "a split changed": (CLIPS, _first_kept("split", "test")),
    "a shard changed": (CLIPS, _first_kept("shard", None)),
    "a size changed": (CLIPS, _first_kept("size", 7)),
    "a start changed": (CLIPS, _first_kept("start_s", 99.0)),
    "a row dropped": (CLIPS, lambda table: table.slice(1)),
    "a row twice": (CLIPS, lambda table: pa.concat_tables([table, table.slice(0, 1)])),
    "a column less": (CLIPS, lambda table: table.drop_columns(["split"])),
    "a state changed": (VIDEOS, lambda table: with_last("state", "rejected:low_fps")(table)),
    "a video dropped": (VIDEOS, lambda table: table.slice(1)),
    "a video twice": (VIDEOS, lambda table: pa.concat_tables([table, table.slice(0, 1)])),
}


def change_catalog(kind: str, change: Callable[[pa.Table], pa.Table]) -> Plant:
    def plant(store: Store) -> Planted:
        name = catalog_of(kind)(store)
        return _rename(store, name, change(store.read_table(name)))

    return plant


def pack_row_less(store: Store) -> Planted:
    name = index_name(pack_of(store))
    store.put_table(name, store.read_table(name).slice(1))
    return Planted(name)


def nan_score(store: Store) -> Planted:
    name = scores_of(store)[0]
    store.put_table(name, with_last("motion", float("nan"))(store.read_table(name)))
    return Planted(name)


def commit_of_more(store: Store) -> Planted:
    name = commit_of(store)
    row = json.loads(store.read(name))
    store.put(name, json.dumps(row | {"clips": row["clips"] + 1}, sort_keys=True).encode() + b"\n")
    # Of two that disagree the commit is the smaller; it is told of the index, which names both.
    return Planted(index_name(row["pack"]))


def commit_of_another_channel(store: Store) -> Planted:
    name = _ingested(store)
    row = json.loads(store.read(name))
    row["video"]["channel"] = "another"
    store.put(name, json.dumps(row, sort_keys=True).encode() + b"\n")
    return Planted(name, at="video.channel")


def commit_gone(store: Store) -> Planted:
    name = _ingested(store)
    store.remove(name)
    return Planted(name)


def _ingested(store: Store) -> str:
    names = [name for name in store.list("commits") if name.endswith(".json")]
    return next(name for name in names if json.loads(store.read(name))["state"] == "ingested")


def garbled_commit(store: Store) -> Planted:
    name = commit_of(store)
    data = store.read(name)
    store.put(name, data[:20] + b"\0" + data[21:])
    return Planted(name, 0, len(data))
