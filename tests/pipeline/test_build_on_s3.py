"""The whole way into a bucket: the same dataset, to the byte, and windows by ranged reads alone."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import yaml

from shards.index import read_index
from shards.manifest import read_version
from shards.store import Store
from tests.faults.books import contents
from tests.faults.commands import genieset
from tests.proxy import Proxy
from tests.stores import client
from trainer_bridge import open_stream

MakeVideo = Callable[..., Path]
OWN = re.compile(r"^(attempts|budgets|\.tmp)/|^config\.json$")


@pytest.fixture(scope="module")
def videos(make_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder")
    for number in range(3):
        out = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-fflags", "+bitexact"]
        source = f"testsrc2=size=64x36:rate=10:duration={33 + number}"
        video = make_video(f"s3-{number}.mp4", source, out=out)
        (folder / video.name).write_bytes(video.read_bytes())
    (folder / "text.mp4").write_text("no video at all\n" * 100)
    return folder


def write_config(path: Path, dataset: str, videos: Path) -> Path:
    sources = [{"kind": "files", "path": str(videos)}]
    path.write_text(yaml.safe_dump({"dataset": dataset, "sources": sources, "shards": {"max_bytes": 50_000}}))
    return path


@pytest.fixture(scope="module")
def local(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a build into a folder leaves there."""
    root = tmp_path_factory.mktemp("local")
    run("build", write_config(root / "build.yaml", str(root / "set"), videos), scratch=root / "tmp")
    return {name: data for name, data in contents(root / "set").items() if not OWN.match(name)}


def run(*arguments: str | Path, scratch: Path) -> str:
    with genieset(*arguments, scratch=scratch) as process:
        out, told = process.communicate(timeout=200)
        assert process.returncode == 0, told
    return out


def in_bucket(port: int, bucket: str, folder: Path) -> dict[str, str]:
    """The objects under `set/`, told as those of a folder are."""
    s3 = client(port)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="set/"):
        for entry in page["Contents"]:
            path = folder / entry["Key"].removeprefix("set/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())
    return {name: data for name, data in contents(folder).items() if not OWN.match(name)}


def test_a_bucket_holds_what_a_folder_does_with_two_jobs_as_with_one(
    videos: Path, local: dict[str, str], s3_port: int, s3_bucket: str, tmp_path: Path
) -> None:
    url = f"s3://{s3_bucket}/set"
    config = write_config(tmp_path / "build.yaml", url, videos)
    run("build", config, "--jobs", "2", scratch=tmp_path / "tmp")
    assert in_bucket(s3_port, s3_bucket, tmp_path / "copy") == local
    assert sum(name.startswith("shards/") for name in local) >= 4
    assert '"balanced": true' in run("status", url, "--json", scratch=tmp_path / "tmp")
    run("verify", url, scratch=tmp_path / "tmp")


def test_killed_while_it_puts_a_pack_and_resumed_it_is_the_same(
    videos: Path,
    local: dict[str, str],
    s3_port: int,
    s3_bucket: str,
    s3_proxy: Proxy,
    tmp_path: Path,
) -> None:
    config = write_config(tmp_path / "build.yaml", f"s3://{s3_bucket}/set", videos)
    # Each request of a publish has its turn in `tests/faults/test_kill_on_s3.py`.
    s3_proxy.add(r"^PUT .*/packs/.*\.tar ", "hang")
    with genieset("build", config, scratch=tmp_path / "tmp") as process:
        while s3_proxy.faults[0].times:
            assert s3_proxy.met.acquire(timeout=120)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    found = in_bucket(s3_port, s3_bucket, tmp_path / "torn")
    assert found.items() <= local.items() | {(name, found[name]) for name in found if "curated" in name}
    assert not any(name.startswith("versions/") for name in found)
    run("build", config, scratch=tmp_path / "tmp")
    assert in_bucket(s3_port, s3_bucket, tmp_path / "copy") == local


def test_a_build_bears_what_networks_do(
    videos: Path, local: dict[str, str], s3_port: int, s3_bucket: str, s3_proxy: Proxy, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "build.yaml", f"s3://{s3_bucket}/set", videos)
    for folder in ("packs", "commits", "shards", "versions", "catalog"):
        s3_proxy.add(f"^PUT .*/{folder}/", "cut")
        s3_proxy.add(f"^PUT .*/{folder}/", "lose")
        s3_proxy.add(f"^PUT .*/{folder}/", "answer", status=503)
        s3_proxy.add(f"^GET .*/{folder}/", "half")
    run("build", config, scratch=tmp_path / "tmp")
    assert in_bucket(s3_port, s3_bucket, tmp_path / "copy") == local


def test_a_window_costs_little_more_than_its_packets(
    videos: Path, s3_bucket: str, s3_proxy: Proxy, tmp_path: Path
) -> None:
    url = f"s3://{s3_bucket}/set"
    config = write_config(tmp_path / "build.yaml", url, videos)
    run("build", config, scratch=tmp_path / "tmp")
    s3_proxy.requests.clear()
    store = Store(url)
    clips = {
        placed.clip.key: placed.packet_sizes
        for shard in read_version(store).shards
        for placed in read_index(store, shard.name)
    }
    s3_proxy.requests.clear()
    packets = windows = 0
    for batch in islice(open_stream(url, split="train", batch_size=4, seed=3), 10):
        windows += len(batch.keys)
        pairs = zip(batch.keys, batch.starts, strict=True)
        packets += sum(sum(clips[key][start : start + 16]) for key, start in pairs)
    windows_got = [read.got for read in s3_proxy.lines(r"^GET .*/shards/.*\.tar ") if read.range]
    indexes_got = [read.got for read in s3_proxy.lines(r"^GET .*/shards/.*\.parquet ")]
    # Windows that lie together are read at once, with what lies between them.
    assert len(windows_got) < windows == 40
    assert packets <= sum(windows_got) <= 1.5 * packets
    everything = sum(request.got for request in s3_proxy.requests if request.line.startswith("GET"))
    print(
        f"\n{windows} windows: {packets} bytes of packets, {sum(windows_got)} read for them by "
        f"{len(windows_got)} ranged reads, {sum(indexes_got)} of {len(indexes_got)} indexes, {everything} in "
        f"all: {everything / packets:.2f} of the packets"
    )
    assert everything <= 3 * packets
