"""Fetching ahead: the next shards are there, within the room there is, and nothing of it stops anybody."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path

import pytest

from shards.bucket import Patience
from shards.manifest import ShardEntry
from shards.store import Store
from tests.proxy import Fault, Proxy
from tests.stores import ROOT
from tests.trainer_bridge.cached import put_shards, shard_bytes
from trainer_bridge.cache import Cache
from trainer_bridge.prefetch import Prefetcher

SIZE = 50_000
GET = r"GET /\S*shards/"


@pytest.fixture
def store(s3_bucket: str, s3_proxy: Proxy) -> Store:
    store = Store(f"s3://{s3_bucket}/a/set", patience=Patience(2.0, 2.0, 1))
    assert store.create("known", b"1")
    return store


@pytest.fixture
def shards(store: Store, s3_proxy: Proxy) -> list[ShardEntry]:
    """Eight of 50 kB."""
    entries = put_shards(store, 8, SIZE)
    s3_proxy.requests.clear()
    s3_proxy.met = threading.Semaphore(0)
    return entries


class Training:
    """One that needs the shards in their order, and says where it is."""

    def __init__(self, store: Store, shards: Iterable[ShardEntry]) -> None:
        self._coming = [(store, shard) for shard in shards]
        self.at = 0

    def __call__(self) -> Iterable[tuple[Store, ShardEntry]]:
        return self._coming[self.at :]


def there(cache: Cache) -> set[str]:
    return {path.stem for path in cache.folder.glob("*.tar")}


def named(shards: Iterable[ShardEntry]) -> set[str]:
    return {shard.sha256 for shard in shards}


def settled(ahead: Prefetcher) -> None:
    """Wait until everything that could be done was."""
    ahead.advance()
    assert ahead.wait(30)


def test_the_next_shards_are_fetched_in_their_order_as_far_as_there_is_room(
    store: Store, shards: list[ShardEntry], s3_proxy: Proxy, tmp_path: Path
) -> None:
    cache, training = Cache(tmp_path, 3 * SIZE), Training(store, shards)
    with Prefetcher(cache, training) as ahead:
        settled(ahead)
        assert there(cache) == named(shards[:3])
        # What it holds nobody evicts.
        assert not cache.fetch(store, shards[6])
        for training.at in (1, 2, 5):
            settled(ahead)
            assert there(cache) == named(shards[training.at : training.at + 3])
    asked = [request.line.split("/train-")[1][:6] for request in s3_proxy.lines(GET)]
    assert asked == [f"{number:06d}" for number in range(8)]
    assert cache.fetch(store, shards[0])


def test_no_more_is_asked_of_an_endless_order_than_there_is_room_for(
    store: Store, shards: list[ShardEntry], tmp_path: Path
) -> None:
    cache = Cache(tmp_path, 100 * SIZE)

    def endless() -> Iterator[tuple[Store, ShardEntry]]:
        return cycle((store, shard) for shard in shards)

    for bound in ({"ahead_shards": 2}, {"ahead_bytes": 3 * SIZE - 1}):
        with Prefetcher(cache, endless, **bound) as ahead:
            settled(ahead)
            assert there(cache) == named(shards[:2])


def test_an_endless_order_of_few_shards_has_an_end(
    store: Store, shards: list[ShardEntry], tmp_path: Path
) -> None:
    cache = Cache(tmp_path, 100 * SIZE)
    with Prefetcher(cache, lambda: cycle([(store, shards[0])])) as ahead:
        settled(ahead)
    assert there(cache) == named(shards[:1])


def test_what_fails_is_told_once_and_the_others_are_fetched(
    store: Store, shards: list[ShardEntry], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.remove(shards[0].name)
    store.put(shards[1].name, shard_bytes(77, SIZE))
    cache, training = Cache(tmp_path, 4 * SIZE), Training(store, shards[:4])
    with caplog.at_level(logging.WARNING), Prefetcher(cache, training) as ahead:
        settled(ahead)
        settled(ahead)
    assert there(cache) == named(shards[2:4])
    assert [record.getMessage().split(" is not fetched ahead: ")[0] for record in caplog.records] == [
        store.where(shard.name) for shard in shards[:2]
    ]


def test_an_order_that_cannot_be_told_ends_it_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Iterable[tuple[Store, ShardEntry]]:
        raise ZeroDivisionError

    ahead = Prefetcher(Cache(tmp_path, SIZE), broken)
    assert ahead.wait(30)
    ahead.close()
    ahead.advance()
    (told,) = caplog.records
    assert "fetching ahead has ended; shards are read from the bucket" in told.getMessage()


def test_two_that_share_a_cache_share_the_work(
    store: Store, shards: list[ShardEntry], s3_proxy: Proxy, tmp_path: Path
) -> None:
    caches = [Cache(tmp_path, 8 * SIZE) for _ in range(2)]
    trainings = [Training(store, shards), Training(store, shards[::-1])]
    with Prefetcher(caches[0], trainings[0]) as one, Prefetcher(caches[1], trainings[1]) as other:
        settled(one)
        settled(other)
        settled(one)
    assert there(caches[0]) == named(shards)
    assert sum(cache.counts.fetched for cache in caches) == len(s3_proxy.lines(GET)) == 8


def test_one_that_is_closed_while_it_fetches_leaves_nothing_behind(
    store: Store, shards: list[ShardEntry], s3_proxy: Proxy, tmp_path: Path
) -> None:
    s3_proxy.faults.append(Fault(GET, "hang", times=100))
    cache = Cache(tmp_path, 8 * SIZE)
    ahead = Prefetcher(cache, Training(store, shards))
    assert s3_proxy.met.acquire(timeout=30)
    ahead.close()
    assert [path.name for path in tmp_path.iterdir()] == ["door"]
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


UNCLOSED = """
import sys
from shards.store import Store
from tests.trainer_bridge.cached import entry
from trainer_bridge.cache import Cache
from trainer_bridge.prefetch import Prefetcher

store, cache = Store(sys.argv[1]), Cache(sys.argv[2], 10**9)
ahead = Prefetcher(cache, lambda: [(store, entry(0, 30_000_000)), (store, entry(1, 30_000_000))])
while not list(cache.folder.glob("*.part")):
    pass
"""


def test_one_that_nobody_closed_does_not_keep_its_process_from_ending(store: Store, tmp_path: Path) -> None:
    put_shards(store, 2, 30_000_000)
    command = [sys.executable, "-c", UNCLOSED, store.url, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_shards_of_a_folder_are_left_where_they_are(tmp_path: Path) -> None:
    store = Store(tmp_path / "set")
    cache = Cache(tmp_path / "cache", SIZE)
    training = Training(store, put_shards(store, 2, SIZE))
    with Prefetcher(cache, training) as ahead:
        settled(ahead)
    assert there(cache) == set()
