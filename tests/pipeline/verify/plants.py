"""Every kind of damage that a dataset can meet: each plants one, and says which object has it, and where."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from shards.catalog import CLIPS, VIDEOS, catalog_names, create_catalog
from shards.index import ClipTarWriter, index_name, read_clip, read_index
from shards.manifest import ShardEntry, Version, create_version, read_version
from shards.records import Placed
from shards.store import Store, write_parquet
from shards.tar import TarWriter, read_members
from shards.wide import wide_name

VERSION = "versions/000001.json"


@dataclass(frozen=True)
class Planted:
    """The object that was damaged, and the bytes of it that are not what they were, if they are few.

    Attributes:
        at: what a fault's `at` must hold: a field, a column, a key.
    """

    object: str
    start: int | None = None
    end: int | None = None
    at: str = ""


Plant = Callable[[Store], Planted]


def all_plants() -> Iterator[tuple[str, Plant]]:
    """Name and plant of each."""
    for region in (
        "header of mp4",
        "head of mp4",
        "frames of mp4",
        "header of json",
        "json",
        "padding",
        "end",
    ):
        for seed in range(3):
            yield f"tar: bit in {region}, seed {seed}", _bit_in_tar(region, seed, _tar)
    for share in (0.0, 0.001, 0.5, 0.97, 1.0):
        yield f"tar: cut at {share:.1%}", _cut(share)
    yield "tar: block appended", _append
    yield "tar: two bytes of an mp4 changed", _two_bytes
    yield "tar: header declares 8 GB", _huge_header
    yield "tar: two shards exchanged", _exchanged
    yield "tar: another clip's mp4 under this key", _other_mp4
    yield "tar: members not adjacent", _republished(_apart)
    yield "tar: an owner and a time in the headers", _republished(_owned)
    yield "clip: its key is in two shards", _republished(_twice)
    yield "clip: its video is in two splits", _republished(_two_splits)
    yield "clip: its video is in the split that its hash does not say", _republished(_other_split)
    for name, change in _INDEX_CHANGES.items():
        column = _OF_COLUMNS.get(name.removesuffix(" changed"))
        yield f"index: {name}", _change_index(change, f"column {column}" if column else "")
    yield "index: that of another shard", _index_of_another
    yield "index: consistent with the version, not with the tar", _republished(_lying_index)
    for field in ("samples", "bytes", "sha256", "index_sha256", "clips_by_frames", "split", "name"):
        yield f"version: shards[0].{field}", _change_shard_field(field)
    for field in ("parent", "number", "schema", "recipe", "recipe_hash", "splits", "shards"):
        yield f"version: {field}", _change_field(field)
    yield "version: a shard less", _drop_shard
    yield "version: no JSON", _no_json
    yield "version: 1 GB of zeros", _huge(lambda store: VERSION)
    for name, (kind, change) in _CATALOG_CHANGES.items():
        yield f"catalog of {kind}: {name}", _change_catalog(kind, change)
    for name, of in OBJECTS.items():
        yield f"{name}: missing", _missing(of)
        if name not in ("tar", "pack", "version"):
            for seed in range(2):
                yield f"{name}: bit, seed {seed}", _bit(of, seed)
            yield f"{name}: cut in half", _halved(of)
        if name in ("index", "score", "pack index", "wide frames"):
            yield f"{name}: declares what it does not have", _hostile_parquet(of)
    for region in ("header of mp4", "frames of mp4", "json", "padding", "end"):
        yield f"pack: bit in {region}", _bit_in_tar(region, 0, _pack)
    yield "pack index: a row less", _pack_row_less
    yield (
        "score: that of another pack",
        _copied(lambda store: _scores(store)[0], lambda store: _scores(store)[1]),
    )
    yield "score: not a number", _nan_score
    yield (
        "wide frames: those of another pack",
        _copied(lambda store: wide_name(_pack(store)), lambda store: wide_name(_packs(store)[1])),
    )
    yield "commit: another number of clips", _commit_of_more
    yield "commit: no JSON", _garbled_commit
    yield "commit: 1 GB of zeros", _huge(_commit)
    yield "config: no JSON", _garbled(lambda store: "config.json")


def _tar(store: Store) -> str:
    return _version(store).shards[0].name


def _index(store: Store) -> str:
    return index_name(_tar(store))


def _packs(store: Store) -> list[str]:
    return [name for name in store.list("packs") if name.endswith(".tar")]


def _pack(store: Store) -> str:
    return _packs(store)[0]


def _scores(store: Store) -> list[str]:
    return store.list("scores/motion-1")


def _commit(store: Store) -> str:
    return next(name for name in store.list("commits") if name.endswith(".json"))


def _catalog(kind: str) -> Callable[[Store], str]:
    return lambda store: catalog_names(store, kind, _version(store))[0]


OBJECTS: dict[str, Callable[[Store], str]] = {
    "tar": _tar,
    "index": _index,
    "catalog of videos": _catalog(VIDEOS),
    "catalog of clips": _catalog(CLIPS),
    "pack": _pack,
    "pack index": lambda store: index_name(_pack(store)),
    "score": lambda store: _scores(store)[0],
    "wide frames": lambda store: wide_name(_pack(store)),
}


def _version(store: Store) -> Version:
    return read_version(store, 1)


def flip(store: Store, name: str, place: int, bit: int) -> Planted:
    """Change one bit of an object."""
    data = bytearray(store.read(name))
    data[place] ^= 1 << bit
    store.path(name).write_bytes(data)
    return Planted(name, place, place + 1)


def region_of(name: str, rows: list[Placed], size: int, chance: random.Random) -> range:
    """The bytes of a region of a tar, of a clip that is drawn."""
    number = chance.randrange(len(rows))
    row = rows[number]
    mp4_end = row.offset + row.size
    frames = mp4_end - sum(row.packet_sizes)
    header = mp4_end + -mp4_end % 512
    json_size = len(json.dumps(row.clip.as_json(), sort_keys=True, separators=(",", ":")))
    end = header + 512 + json_size
    return {
        "header of mp4": range(row.offset - 512, row.offset),
        "head of mp4": range(row.offset, frames),
        "frames of mp4": range(frames, mp4_end),
        "header of json": range(header, header + 512),
        "json": range(header + 512, end),
        "padding": range(end, end + -end % 512),
        "end": range(_end_of(rows), size),
    }[name]


def _end_of(rows: list[Placed]) -> int:
    last = rows[-1]
    header = last.offset + last.size + -(last.offset + last.size) % 512
    json_size = len(json.dumps(last.clip.as_json(), sort_keys=True, separators=(",", ":")))
    return header + 512 + json_size + -json_size % 512


def _bit_in_tar(region: str, seed: int, of: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        chance = random.Random(f"{region}:{seed}")
        name = of(store)
        places = region_of(region, read_index(store, name), store.size_bytes(name), chance)
        return flip(store, name, chance.choice(places), chance.randrange(8))

    return plant


def _bit(of: Callable[[Store], str], seed: int) -> Plant:
    def plant(store: Store) -> Planted:
        chance = random.Random(seed)
        name = of(store)
        flip(store, name, chance.randrange(store.size_bytes(name)), chance.randrange(8))
        return Planted(name)

    return plant


def _cut(share: float) -> Plant:
    def plant(store: Store) -> Planted:
        name = _tar(store)
        size = store.size_bytes(name)
        left = min(size - 1, round(share * size))
        os.truncate(store.path(name), left)
        return Planted(name, left, left + 1)

    return plant


def _halved(of: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        name = of(store)
        os.truncate(store.path(name), store.size_bytes(name) // 2)
        return Planted(name)

    return plant


def _append(store: Store) -> Planted:
    name = _tar(store)
    size = store.size_bytes(name)
    store.put(name, store.read(name) + b"\1" * 512)
    return Planted(name, size, size + 512)


def _two_bytes(store: Store) -> Planted:
    name = _tar(store)
    row = read_index(store, name)[0]
    places = row.offset + row.size // 2, row.offset + row.size - 10
    for place in places:
        flip(store, name, place, 3)
    return Planted(name, places[0], places[1] + 1)


def _huge_header(store: Store) -> Planted:
    name = _tar(store)
    data = bytearray(store.read(name))
    data[124:136] = b"77777777777\0"
    checksum = sum(data[:148]) + 8 * 32 + sum(data[156:512])
    data[148:156] = b"%06o\0 " % checksum
    store.put(name, bytes(data))
    return Planted(name, 124, 154)


def _exchanged(store: Store) -> Planted:
    one, other = (shard.name for shard in _version(store).shards[:2])
    first, second = store.read(one), store.read(other)
    store.put(one, second)
    store.put(other, first)
    return Planted(one)


def _other_mp4(store: Store) -> Planted:
    """The bytes of another clip of the same size do not exist; so those of the next, cut or filled up."""
    name = _tar(store)
    one, other = read_index(store, name)[:2]
    data = bytearray(store.read(name))
    data[one.offset : one.offset + one.size] = data[other.offset : other.offset + other.size].ljust(
        one.size, b"\0"
    )[: one.size]
    store.put(name, bytes(data))
    return Planted(name, one.offset, one.offset + one.size)


def _huge(of: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        name = of(store)
        os.truncate(store.path(name), 1_000_000_000)
        return Planted(name)

    return plant


def _missing(of: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        name = of(store)
        store.remove(name)
        # A catalog is looked for by the first part of its name.
        return Planted("/".join(name.split("/")[:2]) if name.startswith("catalog") else name)

    return plant


def _copied(of: Callable[[Store], str], source: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        store.put(of(store), store.read(source(store)))
        return Planted(of(store))

    return plant


def _garbled(of: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        store.put(of(store), b"{" + store.read(of(store)))
        return Planted(of(store))

    return plant


def _hostile_parquet(of: Callable[[Store], str]) -> Plant:
    """The number of rows in the footer becomes the largest that fits in its place."""

    def plant(store: Store) -> Planted:
        name = of(store)
        data = bytearray(store.read(name))
        footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        # FileMetaData: version (0x15 0x04), schema (0x19 ...); whatever follows is overwritten with 0x7e.
        data[footer + 40 : footer + 60] = b"\xfe\xff\xff\xff\x7f" * 4
        store.put(name, bytes(data))
        return Planted(name)

    return plant


def _no_lists(column: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[-1][column] = value(rows[-1][column]) if callable(value) else value
        return pa.Table.from_pylist(rows, schema=table.schema)

    return change


def _as_written(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(table.to_pylist(), schema=schema)


_OF_COLUMNS = {
    "an offset": "offset",
    "a size": "size",
    "a crc": "crc32",
    "packet sizes": "packet_sizes",
    "extradata": "extradata",
    "a number of frames": "n_frames",
    "a rate": "fps",
    "the size of groups": "gop_frames",
    "a content box": "content_box",
    "a start": "start_s",
    "a key": "key",
}

_INDEX_CHANGES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "an offset changed": _no_lists("offset", lambda offset: offset + 512),
    "a size changed": _no_lists("size", lambda size: size + 1),
    "a crc changed": _no_lists("crc32", 1),
    "packet sizes changed": _no_lists("packet_sizes", lambda sizes: [sizes[0] + 1, sizes[1] - 1, *sizes[2:]]),
    "extradata changed": _no_lists("extradata", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "a number of frames changed": _no_lists("n_frames", 16),
    "a rate changed": _no_lists("fps", 30.0),
    "the size of groups changed": _no_lists("gop_frames", 8),
    "a content box changed": _no_lists("content_box", [0, 0, 16, 16]),
    "a start changed": _no_lists("start_s", 1.5),
    "a key changed": _no_lists("key", "file-x_00000000"),
    "a row dropped": lambda table: table.slice(1),
    "rows reordered": lambda table: table.take(list(range(len(table)))[::-1]),
    "a row twice": lambda table: pa.concat_tables([table, table.slice(0, 1)]),
    "no rows": lambda table: table.slice(0, 0),
    "a column less": lambda table: table.drop_columns(["crc32"]),
}


def _change_index(change: Callable[[pa.Table], pa.Table], at: str) -> Plant:
    def plant(store: Store) -> Planted:
        name = _index(store)
        store.put_table(name, change(store.read_table(name)))
        return Planted(name, at=at)

    return plant


def _index_of_another(store: Store) -> Planted:
    one, other = (index_name(shard.name) for shard in _version(store).shards[:2])
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


def _change_shard_field(field: str) -> Plant:
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


def _change_field(field: str) -> Plant:
    def edit(body: dict[str, Any]) -> None:
        body[field] = body[field] | {"more": 1} if field == "recipe" else _other(body[field])

    return lambda store: _edit_version(store, edit)


def _drop_shard(store: Store) -> Planted:
    def edit(body: dict[str, Any]) -> None:
        gone = body["shards"].pop()
        body["splits"][gone["split"]] -= gone["samples"]
        body["splits"] = {split: count for split, count in body["splits"].items() if count}

    return _edit_version(store, edit)


def _no_json(store: Store) -> Planted:
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


_CATALOG_CHANGES: dict[str, tuple[str, Callable[[pa.Table], pa.Table]]] = {
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
    "a state changed": (VIDEOS, lambda table: _no_lists("state", "rejected:low_fps")(table)),
    "a video dropped": (VIDEOS, lambda table: table.slice(1)),
    "a video twice": (VIDEOS, lambda table: pa.concat_tables([table, table.slice(0, 1)])),
}


def _change_catalog(kind: str, change: Callable[[pa.Table], pa.Table]) -> Plant:
    def plant(store: Store) -> Planted:
        name = _catalog(kind)(store)
        return _rename(store, name, change(store.read_table(name)))

    return plant


Change = Callable[[Store, Version], tuple[Version, str]]


def _republished(change: Change) -> Plant:
    """What somebody publishes who writes everything anew, in agreement with each other."""

    def plant(store: Store) -> Planted:
        version = _version(store)
        videos, clips = (store.read_table(_catalog(kind)(store)) for kind in (VIDEOS, CLIPS))
        catalogs = [_catalog(kind)(store) for kind in (VIDEOS, CLIPS)]
        changed, name = change(store, version)
        for old in (*catalogs, VERSION):
            store.remove(old)
        create_catalog(store, changed, videos, clips)
        assert create_version(store, changed)
        return Planted(name)

    return plant


def _put_shard(store: Store, split: str, number: int, tar: bytes, index: pa.Table) -> ShardEntry:
    digest = hashlib.sha256(tar).hexdigest()
    name = f"shards/{split}-{number:06d}-{digest[:8]}.tar"
    file = io.BytesIO()
    write_parquet(index, file)
    store.put(name, tar)
    store.put(index_name(name), file.getvalue())
    lengths = Counter(index["n_frames"].to_pylist())
    index_sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    return ShardEntry(name, split, len(index), len(tar), digest, index_sha256, dict(sorted(lengths.items())))


def _write(store: Store, split: str, number: int, clips: list[tuple[str, Placed]]) -> ShardEntry:
    file = io.BytesIO()
    with ClipTarWriter(file) as tar:
        for source, placed in clips:
            tar.append(placed.clip, read_clip(store, source, placed), placed.gop_frames)
    return _put_shard(store, split, number, file.getvalue(), tar.index())


def _clips(store: Store, shard: ShardEntry) -> list[tuple[str, Placed]]:
    return [(shard.name, placed) for placed in read_index(store, shard.name)]


def _twice(store: Store, version: Version) -> tuple[Version, str]:
    one, other = version.shards[:2]
    new = _write(store, other.split, 7, [*_clips(store, other), *_clips(store, one)[:1]])
    return replace(version, shards=(one, new, *version.shards[2:])), VERSION


def _two_splits(store: Store, version: Version) -> tuple[Version, str]:
    one = version.shards[0]
    # Of a recipe that says nothing of splits.
    recipe = {"frame": {}}
    first, second = _clips(store, one)[:2]
    assert first[1].clip.video_id == second[1].clip.video_id
    split = (_write(store, "train", 8, [first]), _write(store, "val", 8, [second]))
    return replace(version, shards=(*split, *version.shards[1:]), recipe=recipe), VERSION


def _other_split(store: Store, version: Version) -> tuple[Version, str]:
    one = version.shards[0]
    new = _write(store, "val" if one.split == "train" else "train", 9, _clips(store, one))
    return replace(version, shards=(new, *version.shards[1:])), index_name(new.name)


def _lying_index(store: Store, version: Version) -> tuple[Version, str]:
    one = version.shards[0]
    index = _no_lists("extradata", lambda data: data[:-1] + bytes([data[-1] ^ 1]))(
        store.read_table(_index(store))
    )
    new = _put_shard(store, one.split, one.name and 0, store.read(one.name), index)
    return replace(version, shards=(new, *version.shards[1:])), new.name


def _apart(store: Store, version: Version) -> tuple[Version, str]:
    one = version.shards[0]
    with store.open(one.name) as file:
        members = [(m, store.read_range(one.name, m.offset, m.size)) for m in read_members(file)]
    apart = io.BytesIO()
    with TarWriter(apart) as tar:
        for member, data in members[::2] + members[1::2]:
            tar.append(member.key, {member.suffix: data})
    new = _put_shard(store, one.split, 5, apart.getvalue(), store.read_table(_index(store)))
    return replace(version, shards=(new, *version.shards[1:])), new.name


def _owned(store: Store, version: Version) -> tuple[Version, str]:
    import tarfile

    one = version.shards[0]
    owned = io.BytesIO()
    with (
        store.open(one.name) as file,
        tarfile.open(fileobj=file) as old,
        tarfile.TarFile(fileobj=owned, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for header in old:
            data = old.extractfile(header)
            header.uid, header.uname, header.mtime, header.mode = 1000, "me", 1, 0o644
            tar.addfile(header, data)
    new = _put_shard(store, one.split, 6, owned.getvalue(), store.read_table(_index(store)))
    return replace(version, shards=(new, *version.shards[1:])), new.name


def _pack_row_less(store: Store) -> Planted:
    name = index_name(_pack(store))
    store.put_table(name, store.read_table(name).slice(1))
    return Planted(name)


def _nan_score(store: Store) -> Planted:
    name = _scores(store)[0]
    store.put_table(name, _no_lists("motion", float("nan"))(store.read_table(name)))
    return Planted(name)


def _commit_of_more(store: Store) -> Planted:
    name = _commit(store)
    row = json.loads(store.read(name))
    store.put(name, json.dumps(row | {"clips": row["clips"] + 1}, sort_keys=True).encode() + b"\n")
    # Of two that disagree the commit is the smaller; it is told of the index, which names both.
    return Planted(index_name(row["pack"]))


def _garbled_commit(store: Store) -> Planted:
    name = _commit(store)
    data = store.read(name)
    store.put(name, data[:20] + b"\0" + data[21:])
    return Planted(name, 0, len(data))
