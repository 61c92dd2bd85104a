"""Verify finds whatever is wrong with a version and says where; it never raises."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shards.catalog import create_catalog, write_curated
from shards.checks.version import check_version
from shards.codec import encode_clip
from shards.index import ClipTarWriter, index_name
from shards.keys import clip_key
from shards.manifest import ShardEntry, Version, create_version, read_version, version_name
from shards.records import CLIP_SCHEMA, VIDEO_SCHEMA, Clip, ContentBox, Placed
from shards.store import Store, write_parquet
from shards.tar import TarWriter, read_members
from shards.verify import verify

# webdataset leaves what it opens to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

_N_FRAMES = 16
_Shards = Sequence[tuple[str, Sequence[tuple[str, int]]]]
_SOUND: _Shards = [("train", [("one", 0), ("one", 1), ("two", 0)]), ("val", [("three", 0)])]


def _clip(video: str, number: int) -> Clip:
    video_id = f"file-{video}"
    start_s = number * _N_FRAMES / 10
    return Clip(
        clip_key(video_id, number * _N_FRAMES),
        video_id,
        start_s,
        _N_FRAMES,
        _N_FRAMES,
        10.0,
        ContentBox(0, 0, 64, 48),
    )


def _write_shard(
    store: Store, number: int, split: str, clips: Sequence[Clip]
) -> tuple[ShardEntry, list[Placed]]:
    frames = np.random.default_rng(0).integers(16, 235, (_N_FRAMES, 72, 64), np.uint8)
    tar, index = io.BytesIO(), io.BytesIO()
    with ClipTarWriter(tar) as writer:
        for clip in clips:
            writer.append(clip, encode_clip(frames))
    write_parquet(writer.index(), index)
    digest = hashlib.sha256(tar.getvalue()).hexdigest()
    name = f"shards/{split}-{number:06d}-{digest[:8]}.tar"
    store.put(name, tar.getvalue())
    store.put(index_name(name), index.getvalue())
    entry = ShardEntry(
        name=name,
        split=split,
        samples=len(clips),
        bytes=len(tar.getvalue()),
        sha256=digest,
        index_sha256=hashlib.sha256(index.getvalue()).hexdigest(),
        clips_by_frames=dict(Counter(clip.n_frames for clip in clips)),
    )
    return entry, writer.placed


def _publish(root: Path, shards: _Shards) -> Store:
    store, rows = Store(root), []
    entries = []
    for number, (split, clips) in enumerate(shards):
        entry, placed = _write_shard(store, number, split, [_clip(*clip) for clip in clips])
        entries.append(entry)
        rows += [
            clip.clip.as_json()
            | {"decision": "kept", "split": split, "shard": entry.name}
            | {"offset": clip.offset, "size": clip.size}
            for clip in placed
        ]
    videos = [
        {"video_id": video_id, "source": "files", "url": video_id, "found_at": [], "state": "ingested"}
        for video_id in sorted({row["video_id"] for row in rows})
    ]
    _create(
        store,
        Version(1, None, {"rules": [["b", "x > 1"], ["a", "y > 1"]]}, tuple(entries)),
        pa.Table.from_pylist(videos, schema=VIDEO_SCHEMA),
        pa.Table.from_pylist(rows, schema=CLIP_SCHEMA),
    )
    return store


def _create(store: Store, version: Version, videos: pa.Table, clips: pa.Table) -> None:
    write_curated(store, videos, clips)
    create_catalog(store, version, videos, clips)
    assert create_version(store, version)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "set"
    _publish(root, _SOUND)
    return root


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Store:
    """A copy of a sound dataset, to be damaged."""
    return Store(shutil.copytree(sound, tmp_path / "set"))


def _said(store: Store) -> list[str]:
    """Every fault, one line each; what the version cannot be read for is one too."""
    version, _, faults = check_version(store, 1)
    lines = [str(fault) for fault in [*faults, *(verify(store, version).faults if version else ())]]
    assert all("\n" not in line for line in lines)
    return lines


def _change_version(store: Store, change: Callable[[Version], Version]) -> None:
    """Write the version anew, consistent in itself, with its catalog."""
    version = change(read_version(store, 1))
    videos, clips = (store.read_table(f"catalog/{kind}/curated.parquet") for kind in ("videos", "clips"))
    shutil.rmtree(store.path("versions"))
    shutil.rmtree(store.path("catalog"))
    _create(store, version, videos, clips)


def _change_shard(store: Store, **fields: object) -> str:
    """Let the version say something else of its first shard; returns the shard's name."""
    name = read_version(store, 1).shards[0].name
    _change_version(
        store,
        lambda v: replace(v, shards=(replace(v.shards[0], **fields), *v.shards[1:])),  # type: ignore[arg-type]
    )
    return name


def test_a_sound_version_has_no_fault(store: Store) -> None:
    assert _said(store) == []
    found = verify(store, read_version(store), sample=2)
    assert (found.shards, found.samples, found.decoded, found.faults) == (2, 4, 2, ())


OBJECTS = {
    "tar": "shards/train-*.tar",
    "index": "shards/train-*.parquet",
    "videos": "catalog/videos/000001-*.parquet",
    "clips": "catalog/clips/000001-*.parquet",
    "version": "versions/000001.json",
}


def _object(store: Store, kind: str) -> Path:
    (path,) = store.root.glob(OBJECTS[kind])
    return path


@pytest.mark.parametrize("place", [0.0, 0.01, 0.3, 0.5, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("kind", OBJECTS)
def test_a_flipped_byte_is_found(store: Store, kind: str, place: float) -> None:
    path = _object(store, kind)
    data = bytearray(path.read_bytes())
    data[round(place * (len(data) - 1))] ^= 0x20
    path.write_bytes(data)
    assert any(path.relative_to(store.root).as_posix() in line for line in _said(store))


@pytest.mark.parametrize("size", [0, 1, 0.5, 0.999])
@pytest.mark.parametrize("kind", OBJECTS)
def test_a_shortened_object_is_found(store: Store, kind: str, size: float) -> None:
    path = _object(store, kind)
    data = path.read_bytes()
    path.write_bytes(data[: size if isinstance(size, int) else int(len(data) * size)])
    assert any(path.relative_to(store.root).as_posix() in line for line in _said(store))


@pytest.mark.parametrize("kind", ["tar", "index", "videos", "clips"])
def test_a_missing_object_is_found(store: Store, kind: str) -> None:
    path = _object(store, kind)
    path.unlink()
    # A catalog is looked for by the first part of its name.
    name = f"catalog/{kind}" if kind in ("videos", "clips") else path.relative_to(store.root).as_posix()
    assert any(line.startswith(name) and "is missing" in line for line in _said(store))


@pytest.mark.parametrize("name", ["versions/notes.txt", "versions/1.json", "versions/0000001.json"])
def test_what_is_no_version_is_not_looked_at(store: Store, name: str) -> None:
    store.put(name, b"stray")
    assert _said(store) == []


@pytest.mark.parametrize("kind", ["videos", "clips"])
def test_a_stray_catalog_of_the_version_is_found(store: Store, kind: str) -> None:
    path = _object(store, kind)
    stray = path.with_name(f"{path.name[:-16]}00000000.parquet")
    stray.write_bytes(path.read_bytes())
    assert [line.split(",")[0] for line in _said(store)] == [stray.relative_to(store.root).as_posix()]


@pytest.mark.parametrize("kind", ["videos", "clips"])
def test_a_catalog_of_other_clips_is_found(store: Store, kind: str) -> None:
    empty = (
        store.read_table("catalog/videos/curated.parquet")[:0],
        store.read_table("catalog/clips/curated.parquet")[:0],
    )
    _object(store, kind).unlink()
    create_catalog(store, read_version(store), *empty)
    assert any(line.startswith(f"catalog/{kind}/000001-") for line in _said(store))


@pytest.mark.parametrize("key", ["splits", "recipe_hash", "number", "shards", "recipe", "schema", "parent"])
@pytest.mark.parametrize("value", [None, {}, "x", [1], 7])
def test_a_version_that_disagrees_with_itself_is_refused_in_one_line(
    store: Store, key: str, value: object
) -> None:
    body = json.loads(store.read(version_name(1)))
    if body[key] == value:
        value = 8
    store.put(version_name(1), json.dumps(body | {key: value}, sort_keys=True, indent=1).encode() + b"\n")
    # Nothing but its catalog, which is named by its hash, tells of another parent.
    said = _said(store)
    assert any("versions/000001.json" in line for line in said)
    assert all("\n" not in line for line in said)


@pytest.mark.parametrize(
    ("field", "value"),
    [("samples", 4), ("bytes", 1), ("sha256", "0" * 64), ("clips_by_frames", {160: 3}), ("split", "val")],
)
def test_a_shard_that_is_not_as_the_version_says_is_found(store: Store, field: str, value: object) -> None:
    _change_shard(store, **{field: value})
    # The shard is as it is named, and its index tells the same.
    assert any(line.startswith(f"versions/000001.json, shards[0].{field}: is ") for line in _said(store))


@pytest.mark.parametrize("name", ["/elsewhere.tar", "../train-0.tar", "shards/train-000000-none.tar", ""])
def test_a_shard_of_another_name_is_found(store: Store, name: str) -> None:
    _change_shard(store, name=name)
    assert any(line.startswith((name, "versions/000001.json, shards[0].name")) for line in _said(store))


def test_a_clip_that_is_there_twice_is_found(tmp_path: Path) -> None:
    store = _publish(tmp_path, [("train", [("one", 0)]), ("train", [("two", 0), ("one", 0)])])
    assert any(line.startswith("versions/000001.json, file-one_00000000:") for line in _said(store))


def test_a_video_in_two_splits_is_found(tmp_path: Path) -> None:
    store = _publish(tmp_path, [("train", [("one", 0)]), ("val", [("one", 1)])])
    assert _said(store) == ["versions/000001.json, file-one: is in more than one split: ['train', 'val']"]


def test_members_that_are_not_adjacent_are_found(store: Store) -> None:
    entry = read_version(store).shards[0]
    with store.open(entry.name) as file:
        members = [(m, store.read_range(entry.name, m.offset, m.size)) for m in read_members(file)]
    apart = io.BytesIO()
    with TarWriter(apart) as tar:
        for member, data in members[::2] + members[1::2]:
            tar.append(member.key, {member.suffix: data})
    store.put(entry.name, apart.getvalue())
    _change_shard(store, sha256=hashlib.sha256(apart.getvalue()).hexdigest(), bytes=len(apart.getvalue()))
    apart = f"{entry.name}, file-one_00000000, bytes"
    assert any(line.startswith(apart) and "not adjacent" in line for line in _said(store))


def test_the_order_of_lists_in_a_recipe_is_kept(store: Store) -> None:
    assert read_version(store).recipe["rules"] == [["b", "x > 1"], ["a", "y > 1"]]


def test_a_run_that_is_overtaken_leaves_the_catalog_of_the_other(store: Store) -> None:
    other = replace(read_version(store), recipe={"rules": []})
    none = [store.read_table(f"catalog/{kind}/curated.parquet")[:0] for kind in ("videos", "clips")]
    create_catalog(store, other, *none)
    assert not create_version(store, other)
    assert _said(store) == []
