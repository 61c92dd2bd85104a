"""What plants share: what was planted, where the objects are, and damage that any object can meet."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shards.catalog import CLIPS, VIDEOS, catalog_names
from shards.index import index_name
from shards.manifest import Version, read_version
from shards.store import Store
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


def version_of(store: Store) -> Version:
    return read_version(store, 1)


def tar_of(store: Store) -> str:
    return version_of(store).shards[0].name


def index_of(store: Store) -> str:
    return index_name(tar_of(store))


def packs_of(store: Store) -> list[str]:
    return [name for name in store.list("packs") if name.endswith(".tar")]


def pack_of(store: Store) -> str:
    return packs_of(store)[0]


def scores_of(store: Store) -> list[str]:
    return store.list("scores/motion-1")


def commit_of(store: Store) -> str:
    return next(name for name in store.list("commits") if name.endswith(".json"))


def catalog_of(kind: str) -> Callable[[Store], str]:
    return lambda store: catalog_names(store, kind, version_of(store))[0]


OBJECTS: dict[str, Callable[[Store], str]] = {
    "tar": tar_of,
    "index": index_of,
    "catalog of videos": catalog_of(VIDEOS),
    "catalog of clips": catalog_of(CLIPS),
    "pack": pack_of,
    "pack index": lambda store: index_name(pack_of(store)),
    "score": lambda store: scores_of(store)[0],
    "wide frames": lambda store: wide_name(pack_of(store)),
}


def flip(store: Store, name: str, place: int, bit: int) -> Planted:
    """Change one bit of an object."""
    data = bytearray(store.read(name))
    data[place] ^= 1 << bit
    store.path(name).write_bytes(data)
    return Planted(name, place, place + 1)


def bit_in(of: Callable[[Store], str], seed: int) -> Plant:
    def plant(store: Store) -> Planted:
        chance = random.Random(seed)
        name = of(store)
        flip(store, name, chance.randrange(store.size_bytes(name)), chance.randrange(8))
        return Planted(name)

    return plant


def halved(of: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        name = of(store)
        os.truncate(store.path(name), store.size_bytes(name) // 2)
        return Planted(name)

    return plant


def grown(of: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        name = of(store)
        os.truncate(store.path(name), 1_000_000_000)
        return Planted(name)

    return plant


def missing(of: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        name = of(store)
        store.remove(name)
        # A catalog is looked for by the first part of its name.
        return Planted("/".join(name.split("/")[:2]) if name.startswith("catalog") else name)

    return plant


def copied(of: Callable[[Store], str], source: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        store.put(of(store), store.read(source(store)))
        return Planted(of(store))

    return plant


def garbled(of: Callable[[Store], str]) -> Plant:
    def plant(store: Store) -> Planted:
        store.put(of(store), b"{" + store.read(of(store)))
        return Planted(of(store))

    return plant


def hostile_parquet(of: Callable[[Store], str]) -> Plant:
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


def with_last(column: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[-1][column] = value(rows[-1][column]) if callable(value) else value
        return pa.Table.from_pylist(rows, schema=table.schema)

    return change
