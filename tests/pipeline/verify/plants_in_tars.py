"""Damage of tars, and shards that agree with their version and should not be."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from shards.catalog import CLIPS, VIDEOS, create_catalog
from shards.index import ClipTarWriter, index_name, read_clip, read_index
from shards.manifest import ShardEntry, Version, create_version
from shards.records import Placed
from shards.store import Store, write_parquet
from shards.tar import TarWriter, read_members
from tests.pipeline.verify.planting import (
    VERSION,
    Plant,
    Planted,
    catalog_of,
    flip,
    index_of,
    tar_of,
    version_of,
    with_last,
)


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


def bit_in_tar(region: str, seed: int, of: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        chance = random.Random(f"{region}:{seed}")
        name = of(store)
        places = region_of(region, read_index(store, name), store.size_bytes(name), chance)
        return flip(store, name, chance.choice(places), chance.randrange(8))

    return plant


def cut_at(share: float) -> Plant:
    def plant(store: Store) -> Planted:
        name = tar_of(store)
        size = store.size_bytes(name)
        left = min(size - 1, round(share * size))
        os.truncate(store.path(name), left)
        return Planted(name, left, left + 1)

    return plant


def append(store: Store) -> Planted:
    name = tar_of(store)
    size = store.size_bytes(name)
    store.put(name, store.read(name) + b"\1" * 512)
    return Planted(name, size, size + 512)


def two_bytes(store: Store) -> Planted:
    name = tar_of(store)
    row = read_index(store, name)[0]
    places = row.offset + row.size // 2, row.offset + row.size - 10
    for place in places:
        flip(store, name, place, 3)
    return Planted(name, places[0], places[1] + 1)


def huge_header(store: Store) -> Planted:
    name = tar_of(store)
    data = bytearray(store.read(name))
    data[124:136] = b"77777777777\0"
    checksum = sum(data[:148]) + 8 * 32 + sum(data[156:512])
    data[148:156] = b"%06o\0 " % checksum
    store.put(name, bytes(data))
    return Planted(name, 124, 154)


def exchanged(store: Store) -> Planted:
    one, other = (shard.name for shard in version_of(store).shards[:2])
    first, second = store.read(one), store.read(other)
    store.put(one, second)
    store.put(other, first)
    return Planted(one)


def other_mp4(store: Store) -> Planted:
    """The bytes of another clip of the same size do not exist; so those of the next, cut or filled up."""
    name = tar_of(store)
    one, other = read_index(store, name)[:2]
    data = bytearray(store.read(name))
    data[one.offset : one.offset + one.size] = data[other.offset : other.offset + other.size].ljust(
        one.size, b"\0"
    )[: one.size]
    store.put(name, bytes(data))
    return Planted(name, one.offset, one.offset + one.size)


Change = Callable[[Store, Version], tuple[Version, str]]


def republished(change: Change) -> Plant:
    """What somebody publishes who writes everything anew, in agreement with each other."""

    def plant(store: Store) -> Planted:
        version = version_of(store)
        videos, clips = (store.read_table(catalog_of(kind)(store)) for kind in (VIDEOS, CLIPS))
        catalogs = [catalog_of(kind)(store) for kind in (VIDEOS, CLIPS)]
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


def twice(store: Store, version: Version) -> tuple[Version, str]:
    one, other = version.shards[:2]
    new = _write(store, other.split, 7, [*_clips(store, other), *_clips(store, one)[:1]])
    return replace(version, shards=(one, new, *version.shards[2:])), VERSION


def two_splits(store: Store, version: Version) -> tuple[Version, str]:
    one = version.shards[0]
    # Of a recipe that says nothing of splits.
    recipe = {"frame": {}}
    first, second = _clips(store, one)[:2]
    assert first[1].clip.video_id == second[1].clip.video_id
    split = (_write(store, "train", 8, [first]), _write(store, "val", 8, [second]))
    return replace(version, shards=(*split, *version.shards[1:]), recipe=recipe), VERSION


def other_split(store: Store, version: Version) -> tuple[Version, str]:
    one = version.shards[0]
    new = _write(store, "val" if one.split == "train" else "train", 9, _clips(store, one))
    return replace(version, shards=(new, *version.shards[1:])), index_name(new.name)


def lying_index(store: Store, version: Version) -> tuple[Version, str]:
    one = version.shards[0]
    index = with_last("extradata", lambda data: data[:-1] + bytes([data[-1] ^ 1]))(
        store.read_table(index_of(store))
    )
    new = _put_shard(store, one.split, one.name and 0, store.read(one.name), index)
    return replace(version, shards=(new, *version.shards[1:])), new.name


def lying_checksums(store: Store, version: Version) -> tuple[Version, str]:
    one = version.shards[0]
    index = with_last("gop_crc32", lambda crcs: [crcs[0] ^ 1, *crcs[1:]])(store.read_table(index_of(store)))
    new = _put_shard(store, one.split, 0, store.read(one.name), index)
    return replace(version, shards=(new, *version.shards[1:])), index_name(new.name)


def members_apart(store: Store, version: Version) -> tuple[Version, str]:
    one = version.shards[0]
    with store.open(one.name) as file:
        members = [(m, store.read_range(one.name, m.offset, m.size)) for m in read_members(file)]
    apart = io.BytesIO()
    with TarWriter(apart) as tar:
        for member, data in members[::2] + members[1::2]:
            tar.append(member.key, {member.suffix: data})
    new = _put_shard(store, one.split, 5, apart.getvalue(), store.read_table(index_of(store)))
    return replace(version, shards=(new, *version.shards[1:])), new.name


def with_owner(store: Store, version: Version) -> tuple[Version, str]:
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
    new = _put_shard(store, one.split, 6, owned.getvalue(), store.read_table(index_of(store)))
    return replace(version, shards=(new, *version.shards[1:])), new.name
