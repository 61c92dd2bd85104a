"""Shards of bytes that mean nothing, for the cache; as a program it fetches them from a process of its own.

Arguments: the bucket's URL, the folder and size of the cache, the size and the numbers of the shards. It
waits for a line before it begins, and prints how many it has fetched.
"""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path

from shards.manifest import ShardEntry
from shards.store import Store
from trainer_bridge.cache import Cache


def shard_bytes(number: int, size_bytes: int) -> bytes:
    return random.Random(number).randbytes(size_bytes)


def entry(number: int, size_bytes: int) -> ShardEntry:
    """A shard as a version has it."""
    digest = hashlib.sha256(shard_bytes(number, size_bytes)).hexdigest()
    return ShardEntry(f"shards/train-{number:06d}.tar", "train", 1, size_bytes, digest, "", {160: 1})


def put_shards(store: Store, count: int, size_bytes: int) -> list[ShardEntry]:
    for number in range(count):
        store.put(entry(number, size_bytes).name, shard_bytes(number, size_bytes))
    return [entry(number, size_bytes) for number in range(count)]


def main() -> None:
    url, folder, max_bytes, size_bytes, *numbers = sys.argv[1:]
    store, cache = Store(url), Cache(Path(folder), int(max_bytes))
    print("open", flush=True)
    sys.stdin.readline()
    for number in map(int, numbers):
        shard = entry(number, int(size_bytes))
        assert cache.fetch(store, shard)
        copy = cache.ranges(store, shard)
        assert copy is not None
        assert copy.read(0, shard.bytes) == shard_bytes(number, shard.bytes)
        copy.close()
    print(cache.counts.fetched, flush=True)


if __name__ == "__main__":
    main()
