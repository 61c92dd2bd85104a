"""The cache of shards: whole copies or none, counted before they are fetched, fetched once."""

from __future__ import annotations

import fcntl
import logging
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from shards.errors import UserError
from shards.manifest import ShardEntry
from shards.store import Store
from tests.disks import MountDisk
from tests.proxy import Fault, Proxy
from tests.stores import ROOT
from tests.trainer_bridge.cached import put_shards, shard_bytes
from trainer_bridge.cache import Cache, Fetched

SIZE = 100_000
GET = r"GET /\S*shards/"


@pytest.fixture
def store(s3_bucket: str, s3_proxy: Proxy) -> Store:
    store = Store(f"s3://{s3_bucket}/a/set")
    assert store.create("known", b"1")
    return store


@pytest.fixture
def shards(store: Store, s3_proxy: Proxy) -> list[ShardEntry]:
    """Six of 100 kB."""
    entries = put_shards(store, 6, SIZE)
    s3_proxy.requests.clear()
    return entries


def there(cache: Cache) -> list[str]:
    return sorted(path.stem for path in cache.folder.glob("*.tar"))


def names(shards: Sequence[ShardEntry]) -> list[str]:
    return sorted(shard.sha256 for shard in shards)


def test_a_shard_is_fetched_once_and_read_from_the_disk(
    store: Store, shards: list[ShardEntry], s3_proxy: Proxy, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache", 3 * SIZE)
    assert cache.ranges(store, shards[0]) is None
    assert cache.fetch(store, shards[0])
    assert cache.fetch(store, shards[0])
    again = pickle.loads(pickle.dumps(cache))
    with closing(again.ranges(store, shards[0])) as copy:
        assert copy.read(500, 1000) == shard_bytes(0, SIZE)[500:1500]
        assert copy.read(SIZE - 3, 1000) == shard_bytes(0, SIZE)[-3:]
    assert len(s3_proxy.lines(GET)) == 1
    assert (cache.counts.misses, cache.counts.fetched, cache.counts.fetched_bytes) == (1, 1, SIZE)
    assert again.counts.hits == 1
    assert sorted(path.name for path in cache.folder.iterdir()) == [f"{shards[0].sha256}.tar", "door"]


def test_a_copy_serves_every_dataset_that_has_the_shard(
    store: Store, shards: list[ShardEntry], s3_bucket: str, tmp_path: Path
) -> None:
    cache = Cache(tmp_path, SIZE)
    assert cache.fetch(store, shards[0])
    other = replace(shards[0], name="shards/val-000007.tar")
    copy = cache.ranges(Store(f"s3://{s3_bucket}/another"), other)
    assert copy is not None
    copy.close()


def test_what_was_used_longest_ago_makes_room(store: Store, shards: list[ShardEntry], tmp_path: Path) -> None:
    cache = Cache(tmp_path, 3 * SIZE)
    for shard in shards[:3]:
        assert cache.fetch(store, shard)
    used = cache.ranges(store, shards[0])
    assert used is not None
    used.close()
    assert cache.fetch(store, shards[3])
    assert there(cache) == names([shards[0], shards[2], shards[3]])
    assert cache.fetch(store, shards[4], keep=[shards[2].sha256])
    assert there(cache) == names([shards[2], shards[3], shards[4]])
    assert cache.counts.evicted == 2


def test_what_is_open_is_not_evicted_by_anybody(
    store: Store, shards: list[ShardEntry], tmp_path: Path
) -> None:
    cache = Cache(tmp_path, 2 * SIZE)
    assert cache.fetch(store, shards[0])
    assert cache.fetch(store, shards[1])
    first, second = (cache.ranges(store, shard) for shard in shards[:2])
    assert first is not None
    assert second is not None
    assert not Cache(tmp_path, 2 * SIZE).fetch(store, shards[2])
    # All or nothing: of two that are needed one alone is not given up.
    second.close()
    assert not Cache(tmp_path, SIZE).fetch(store, shards[2])
    assert there(cache) == names(shards[:2])
    assert Cache(tmp_path, 2 * SIZE).fetch(store, shards[2])
    assert there(cache) == names([shards[0], shards[2]])
    assert first.read(0, SIZE) == shard_bytes(0, SIZE)
    first.close()


def test_what_is_damaged_on_the_way_gets_no_name(
    store: Store, shards: list[ShardEntry], s3_proxy: Proxy, tmp_path: Path
) -> None:
    cache = Cache(tmp_path, 2 * SIZE)
    store.put(shards[0].name, shard_bytes(9, SIZE))
    store.put(shards[1].name, shard_bytes(1, SIZE)[:-1])
    for shard in shards[:2]:
        with pytest.raises(UserError, match=rf"{shard.name}: its first {SIZE} bytes have sha256 .*bring"):
            cache.fetch(store, shard)
    store.remove(shards[2].name)
    with pytest.raises(FileNotFoundError):
        cache.fetch(store, shards[2])
    s3_proxy.faults.append(Fault(GET, "answer", times=1000, status=403))
    with pytest.raises(UserError):
        cache.fetch(store, shards[3])
    assert [path.name for path in tmp_path.iterdir()] == ["door"]


def test_a_copy_that_is_found_damaged_can_be_taken_away(
    store: Store, shards: list[ShardEntry], tmp_path: Path
) -> None:
    cache = Cache(tmp_path, 2 * SIZE)
    assert cache.fetch(store, shards[0])
    with (tmp_path / f"{shards[0].sha256}.tar").open("r+b") as file:
        file.write(b"x" * 100)
    with closing(cache.ranges(store, shards[0])) as copy:
        assert copy.read(0, 100) == b"x" * 100
        cache.discard(shards[0])
        assert copy.read(0, 100) == b"x" * 100
    assert cache.ranges(store, shards[0]) is None
    assert cache.fetch(store, shards[0])
    (tmp_path / f"{shards[0].sha256}.tar").write_bytes(b"short")
    assert cache.ranges(store, shards[0]) is None
    assert cache.fetch(store, shards[0])
    with closing(cache.ranges(store, shards[0])) as copy:
        assert copy.read(0, SIZE) == shard_bytes(0, SIZE)


def test_a_folder_s_shards_and_those_of_no_known_content_are_not_copied(
    store: Store, shards: list[ShardEntry], tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache", SIZE)
    local = Store(tmp_path / "set")
    local.put(shards[0].name, shard_bytes(0, SIZE))
    assert not cache.fetch(local, shards[0])
    for sha256 in ("", "../../../../etc/passwd", "A" * 64):
        hostile = replace(shards[0], sha256=sha256)
        assert not cache.fetch(store, hostile)
        assert cache.ranges(store, hostile) is None
        cache.discard(hostile)
    assert not cache.fetch(store, replace(shards[0], bytes=-1))
    assert there(cache) == []


def test_a_cache_of_no_use_is_refused_in_one_line(
    store: Store, shards: list[ShardEntry], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="cache: 0 bytes hold nothing"):
        Cache(tmp_path, 0)
    small = Cache(tmp_path / "small", SIZE - 1)
    with pytest.raises(UserError, match=rf"small: {SIZE - 1} bytes do not hold s3://\S+/train-000000.tar"):
        small.check(store, shards)
    small.check(Store(tmp_path), shards)
    small.check(store, [])
    Cache(tmp_path / "enough", SIZE).check(store, shards)
    assert not small.fetch(store, shards[0])
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/cache")):
        with pytest.raises(UserError, match=r"cannot be written to \(.*\); name another folder"):
            Cache(folder, SIZE)


def process(store: Store, cache: Path, max_bytes: int, size: int, *numbers: int) -> subprocess.Popen[str]:
    """One that has opened the cache and waits."""
    arguments = map(str, (store.url, cache, max_bytes, size, *numbers))
    command = [sys.executable, "-m", "tests.trainer_bridge.cached", *arguments]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert started.stdout is not None
    assert started.stdout.readline() == "open\n"
    return started


def test_processes_that_want_the_same_fetch_it_once(
    store: Store, shards: list[ShardEntry], s3_proxy: Proxy, tmp_path: Path
) -> None:
    orders = ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 4, 1, 5, 2])
    started = [process(store, tmp_path, 6 * SIZE, SIZE, *order) for order in orders]
    told = []
    for one in started:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    for one in started:
        out, _ = one.communicate(timeout=60)
        assert one.returncode == 0
        told.append(int(out))
    assert sum(told) == 6
    for shard in shards:
        assert len(s3_proxy.lines(rf"GET /\S*{shard.name}")) == 1


def test_processes_that_evict_each_other_s_copies_all_read_what_was_published(
    store: Store, shards: list[ShardEntry], tmp_path: Path
) -> None:
    started = [process(store, tmp_path, 4 * SIZE, SIZE, *range(6), *range(6)) for _ in range(2)]
    for one in started:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    while any(one.poll() is None for one in started):
        assert held_bytes(tmp_path) <= 4 * SIZE
    for one in started:
        one.communicate()
        assert one.returncode == 0


def held_bytes(folder: Path) -> int:
    with (folder / "door").open("rb") as door:
        # Meanwhile nobody makes room; a copy that gets its name now is left out, and none counted twice.
        fcntl.flock(door, fcntl.LOCK_EX)
        found = 0
        for pattern in ("*.tar", "*.part"):
            for path in folder.glob(pattern):
                with suppress(FileNotFoundError):
                    found += path.stat().st_size
        return found


@pytest.mark.parametrize("blocks_let_pass", [0, 1, 2])
def test_a_kill_while_fetching_leaves_nothing_that_is_served(
    store: Store, s3_proxy: Proxy, tmp_path: Path, blocks_let_pass: int
) -> None:
    size = 20_000_000
    (shard,) = put_shards(store, 1, size)
    s3_proxy.met = threading.Semaphore(0)
    s3_proxy.faults.append(Fault(GET, "hang", times=3 - blocks_let_pass, skip=blocks_let_pass))
    killed = process(store, tmp_path, 2 * size, size, 0)
    assert killed.stdin is not None
    killed.stdin.write("\n")
    killed.stdin.flush()
    for _ in range(3):
        assert s3_proxy.met.acquire(timeout=30)
    part = tmp_path / f"{shard.sha256}.part"
    assert part.stat().st_size == size
    alive = Cache(tmp_path, 2 * size)
    assert alive.attempt(store, shard) is Fetched.BUSY
    assert alive.ranges(store, shard) is None
    assert alive.counts.leftovers == 0
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    s3_proxy.faults.clear()
    assert part.exists()
    cache = Cache(tmp_path, 2 * size)
    assert cache.counts.leftovers == 1
    assert not part.exists()
    assert cache.fetch(store, shard)
    with closing(cache.ranges(store, shard)) as copy:
        assert copy.read(0, size) == shard_bytes(0, size)


@pytest.fixture
def small_disk(mount_disk: MountDisk) -> Path:
    """A disk that holds two shards and a bit."""
    return mount_disk("240k")


def test_a_disk_smaller_than_the_cache_is_a_smaller_cache(
    store: Store, shards: list[ShardEntry], small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(small_disk, 100 * SIZE)
    for shard in shards:
        assert cache.fetch(store, shard)
    assert there(cache) == names(shards[4:])
    assert not caplog.records


def test_a_full_disk_is_told_once_and_stops_nobody(
    store: Store, shards: list[ShardEntry], small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(small_disk, 100 * SIZE)
    assert cache.fetch(store, shards[0])
    with closing(cache.ranges(store, shards[0])) as copy:
        (small_disk / "other").write_bytes(bytes(100_000))
        with caplog.at_level(logging.WARNING):
            assert not cache.fetch(store, shards[1])
            assert not cache.fetch(store, shards[2])
        assert copy.read(0, SIZE) == shard_bytes(0, SIZE)
    (told,) = caplog.records
    assert "No space left on device; shards are read from the bucket" in told.getMessage()
    assert there(cache) == names(shards[:1])
    (small_disk / "other").unlink()
    assert cache.fetch(store, shards[1])
