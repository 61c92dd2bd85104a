"""A stream over damage, loss and bad networks: the right batches, or one line and the same step again."""

from __future__ import annotations

import logging
import os
import random
import re
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from shards.errors import UserError
from shards.index import index_name, read_index
from shards.manifest import read_version
from shards.store import Store
from tests.disks import MountDisk
from tests.proxy import Fault, Proxy
from tests.trainer_bridge.conftest import publish
from trainer_bridge import Batch, batch_digests, open_stream
from trainer_bridge.batches import BatchSettings, GlobalBatches
from trainer_bridge.cache import Cache

SHARD = "shards/train-000003.tar"
STEPS = 20


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 train shards with 144 windows: an epoch is 18 batches of eight."""
    chance = random.Random(3)
    lengths = [[chance.choice((16, 24, 48)) for _ in range(chance.randint(2, 5))] for _ in range(20)]
    return publish(tmp_path_factory.mktemp("sound"), [("train", clips) for clips in lengths])


@pytest.fixture(scope="module")
def expected(sound: Path) -> list[Batch]:
    """What a stream over sound bytes gives."""
    batches = take(sound)
    assert [batch.digest() for batch in batches] == list(batch_digests(sound, batch_size=8, steps=STEPS))
    return batches


@pytest.fixture
def dataset(sound: Path, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    return Path(shutil.copytree(sound, tmp_path / "set"))


def take(place: str | os.PathLike[str], count: int = STEPS, **options: Any) -> list[Batch]:
    return list(islice(open_stream(place, batch_size=8, **options), count))


def whole(place: Path, world_size: int, **options: Any) -> list[Batch]:
    """Each step's batch, put together from what the ranks had of it."""
    ranks = [take(place, rank=rank, world_size=world_size, **options) for rank in range(world_size)]
    return [
        Batch(
            video=torch.cat([share.video for share in shares]),
            keys=sum((share.keys for share in shares), ()),
            starts=sum((share.starts for share in shares), ()),
            valid=torch.cat([share.valid for share in shares]),
            step=shares[0].step,
            replaced=sum((share.replaced for share in shares), ()),
            read_s=0.0,
            decode_s=0.0,
            read_bytes=0,
        )
        for shares in zip(*ranks, strict=True)
    ]


def assert_same(found: list[Batch], other: list[Batch]) -> None:
    assert [(batch.step, batch.keys, batch.starts, batch.replaced) for batch in found] == [
        (batch.step, batch.keys, batch.starts, batch.replaced) for batch in other
    ]
    assert all(torch.equal(one.video, two.video) for one, two in zip(found, other, strict=True))


def spoil(dataset: Path, row: int) -> str:
    """Change one bit in the midst of a clip's packets; returns its key."""
    placed = read_index(Store(dataset), SHARD)[row]
    with (dataset / SHARD).open("r+b") as file:
        file.seek(placed.offset + placed.size - sum(placed.packet_sizes) // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))
    return placed.clip.key


def test_bit_rot_is_replaced_alike_on_any_number_of_ranks(
    dataset: Path, expected: list[Batch], caplog: pytest.LogCaptureFixture
) -> None:
    key = spoil(dataset, 1)
    found = take(dataset)
    hit = [batch for batch in found if batch.replaced]
    assert hit, "no step has a window of it"
    assert {one.key for batch in hit for one in batch.replaced} == {key}
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert key in told[0]
    for batch, before in zip(found, expected, strict=True):
        replaced = {(one.key, one.start): (one.by_key, one.by_start) for one in batch.replaced}
        pairs = zip(before.keys, before.starts, strict=True)
        assert [replaced.get(pair, pair) for pair in pairs] == list(
            zip(batch.keys, batch.starts, strict=True)
        )
    for world_size in (2, 8):
        assert_same(whole(dataset, world_size), found)
    assert_same(take(dataset, workers=2), found)
    middle = hit[0].step
    assert_same(take(dataset, 3, step=middle), found[middle : middle + 3])


def test_damage_beyond_the_budget_is_told_at_its_step(dataset: Path) -> None:
    for row in (0, 1):
        spoil(dataset, row)
    assert len({one.key for batch in take(dataset, max_damaged=2) for one in batch.replaced}) == 2
    stream = open_stream(dataset, batch_size=8, max_damaged=1)
    with pytest.raises(UserError, match=r"train-000003.tar: clip \S+ at byte \d+ is damaged .*max_damaged=1"):
        list(islice(stream, STEPS))
    step = stream.step
    with pytest.raises(UserError, match="max_damaged=1"):
        next(stream)
    assert stream.step == step


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (SHARD, remove, r"train-000003.tar: missing, though the dataset's version names it"),
        (SHARD, truncate, r"train-000003.tar: is damaged \(has [\d,]+ bytes, was published with [\d,]+\)"),
        (index_name(SHARD), remove, r"train-000003\S+: missing, though the dataset's version names it"),
        (index_name(SHARD), truncate, r"train-000003\S+: is damaged \(its SHA-256 is not the version's\)"),
        (index_name(SHARD), flip, r"train-000003\S+: is damaged \(its SHA-256 is not the version's\)"),
    ],
    ids=["tar-gone", "tar-short", "index-gone", "index-short", "index-rotten"],
)
def test_a_shard_that_is_no_more_stops_the_stream_until_it_is_back(
    dataset: Path,
    expected: list[Batch],
    name: str,
    damage: Callable[[Path], None],
    message: str,
    workers: int,
) -> None:
    shutil.copy(dataset / name, dataset.parent / "kept")
    damage(dataset / name)
    stream = open_stream(dataset, batch_size=8, workers=workers)
    found = []
    with pytest.raises(UserError, match=message) as caught:
        found += [next(stream) for _ in range(STEPS)]
    assert "\n" not in str(caught.value)
    assert re.search(r"bring (it|the published file) back", str(caught.value))
    del caught  # its traceback holds the stream, and workers take 5 s to end in a garbage collection
    step = stream.step
    shutil.copy(dataset.parent / "kept", dataset / name)
    found = list(islice(stream, STEPS - step))
    assert_same(found, expected[step:])


@pytest.fixture
def in_bucket(s3_bucket: str, s3_port: int, sound: Path) -> str:
    """The dataset's URL in a bucket."""
    from tests.stores import client

    s3 = client(s3_port)
    for path in sound.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), s3_bucket, f"set/{path.relative_to(sound)}")
    return f"s3://{s3_bucket}/set"


def test_an_endpoint_that_answers_503_to_every_second_request(
    in_bucket: str, s3_proxy: Proxy, expected: list[Batch]
) -> None:
    # Each lets pass one more than the one before it, which by then has struck: every second is refused.
    s3_proxy.faults += [Fault("^GET ", "answer", status=503, skip=number + 1) for number in range(400)]
    assert_same(take(in_bucket, 6), expected[:6])
    left = sum(fault.times for fault in s3_proxy.faults)
    assert 0 < left < 370, "the endpoint has not refused a request of each kind"


def test_an_endpoint_that_is_gone_is_told_and_comes_back(
    in_bucket: str, s3_proxy: Proxy, expected: list[Batch]
) -> None:
    stream = open_stream(in_bucket, batch_size=8)
    assert_same([next(stream)], expected[:1])
    s3_proxy.add("^GET ", "answer", times=10**6, status=503)
    with pytest.raises(UserError, match="503") as caught:
        list(islice(stream, STEPS))
    assert "\n" not in str(caught.value)
    step = stream.step
    s3_proxy.faults.clear()
    assert_same([next(stream)], expected[step : step + 1])


@pytest.fixture
def small_disk(mount_disk: MountDisk) -> Path:
    """A disk that two of the shards fill."""
    return mount_disk("64k")


def test_a_cache_whose_disk_is_full_changes_nothing(
    in_bucket: str, s3_proxy: Proxy, small_disk: Path, expected: list[Batch], caplog: pytest.LogCaptureFixture
) -> None:
    store, cache = Store(in_bucket), Cache(small_disk, 10**9)
    shards = read_version(store).shards
    everything = [shard.sha256 for shard in shards]
    cached = [cache.fetch(store, shard, keep=everything) for shard in shards]
    assert any(cached)
    assert not all(cached)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    s3_proxy.requests.clear()
    stream = open_stream(in_bucket, batch_size=8, cache=cache)
    assert_same(list(islice(stream, STEPS)), expected)
    del stream
    there = [shard.name for shard, is_there in zip(shards, cached, strict=True) if is_there]
    asked = "\n".join(request.line for request in s3_proxy.requests if request.got)
    assert not [name for name in there if f"{name} " in asked]


def test_a_copy_that_rots_is_thrown_away_and_read_again(
    in_bucket: str, tmp_path: Path, expected: list[Batch]
) -> None:
    store, cache = Store(in_bucket), Cache(tmp_path / "cache", 10**9)
    (shard,) = [shard for shard in read_version(store).shards if shard.name == SHARD]
    assert cache.fetch(store, shard)
    (copy,) = (tmp_path / "cache").glob("*.tar")
    copy.write_bytes(bytes(byte ^ 1 for byte in copy.read_bytes()))
    # Nothing is fetched ahead, so the copy that was thrown away does not come back.
    batches = GlobalBatches(in_bucket, BatchSettings(8), cache=cache)
    reader = batches.open_reader()
    shares = [reader.read(batches.share(step, 0, 1)) for step in range(STEPS)]
    assert [share.replaced for share in shares] == [[]] * STEPS
    assert [tuple(share.keys) for share in shares] == [batch.keys for batch in expected]
    assert not copy.exists()
