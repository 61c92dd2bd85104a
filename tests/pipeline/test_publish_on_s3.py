"""What publishing asks of a bucket: no more requests than there are objects and clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.synthetic import config_of, write_packs
from pipeline.build import curate, publish
from pipeline.config import BuildConfig
from pipeline.engine import Expired
from pipeline.publish import ShardUnit, _deadline_s
from shards.errors import UserError
from shards.index import read_indexes
from shards.store import Store
from tests.faults.killable import Inline
from tests.proxy import Proxy
from tests.quiet import Quiet
from tests.stores import client

PACKS = 12
PUTS_A_SHARD = 2


@pytest.fixture
def local(tmp_path: Path) -> BuildConfig:
    config = config_of(tmp_path / "set", {"train": 1.0}, max_bytes=200_000)
    write_packs(config, range(PACKS))
    return config


@pytest.fixture
def config(local: BuildConfig, s3_port: int, s3_bucket: str, s3_proxy: Proxy) -> BuildConfig:
    """The same in a bucket behind the proxy."""
    s3, root = client(s3_port), Store(local.dataset).root
    for path in root.rglob("*"):
        if path.is_file():
            s3.put_object(
                Bucket=s3_bucket, Key=f"set/{path.relative_to(root).as_posix()}", Body=path.read_bytes()
            )
    return local.model_copy(update={"dataset": f"s3://{s3_bucket}/set"})


def test_requests_are_as_many_as_clips_and_packs(
    local: BuildConfig, config: BuildConfig, s3_proxy: Proxy
) -> None:
    selection = curate(config)
    s3_proxy.requests.clear()
    version = publish(config, selection, Inline(), Quiet())
    store = Store(config.dataset)
    clips = sum(entry.samples for entry in version.shards)
    shards = len(version.shards)
    assert clips > 100
    assert shards >= 2
    assert len(s3_proxy.lines(r"^GET .*/packs/[^ ]*\.tar ")) == clips
    videos = [
        len(set(read_indexes(Store(config.dataset), [entry.name], ["video_id"])["video_id"].to_pylist()))
        for entry in version.shards
    ]
    assert len(s3_proxy.lines(r"^GET .*/packs/[^ ]*\.parquet ")) == sum(videos)
    rest = [r for r in s3_proxy.requests if "/packs/" not in r.line and "/shards/" not in r.line]
    assert len(rest) < 60
    # And the very same bytes as in a folder, where nothing is read ahead.
    assert publish(local, curate(local), Inline(), Quiet()).shards == version.shards
    for entry in version.shards:
        assert store.read(entry.name) == Store(local.dataset).read(entry.name)
    again = curate(config)
    s3_proxy.requests.clear()
    assert publish(config, again, Inline(), Quiet()) == version
    # Of each shard: its index, and whether its tar is there.
    assert len(s3_proxy.lines(" /[^ ]*/shards/")) == 2 * shards
    assert not s3_proxy.lines("/packs/")


def test_a_shard_of_many_clips_has_time_for_its_requests() -> None:
    few = ShardUnit("s3://b/set", "train", 0, ("packs/a.tar",) * 10, tuple(range(10)), 1_000)
    many = ShardUnit(
        "s3://b/set", "train", 0, tuple(f"packs/{n}.tar" for n in range(3500)), (0,) * 3500, 256_000_000
    )
    assert _deadline_s(few) == 300
    assert _deadline_s(many) == 256 + 7000 / 4


def test_a_shard_that_takes_too_long_is_told_in_a_line(local: BuildConfig) -> None:
    class Slow(Inline):
        def run(self, function, units, first, *, alone=False):  # type: ignore[no-untyped-def]
            for unit in units:
                yield unit, Expired(300.0)

    with pytest.raises(UserError, match=r"shards/train-000000-\* was not written within 300 s; .*goes on"):
        publish(local, curate(local), Slow(), Quiet())
