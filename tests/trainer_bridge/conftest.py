"""A small published dataset of synthetic clips, each frame of which says which clip and frame it is."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shards.catalog import create_catalog
from shards.codec import Frames, encode_clip
from shards.index import ClipTarWriter, index_name
from shards.keys import clip_key
from shards.manifest import ShardEntry, Version, create_version
from shards.records import CLIP_SCHEMA, VIDEO_SCHEMA, Clip, ContentBox, Placed
from shards.store import Store

MakeDataset = Callable[..., Path]

CATALOG = pa.schema([*CLIP_SCHEMA, pa.field("motion", pa.float64())])


def pictures(clip: int, n_frames: int, height: int, width: int) -> Frames:
    """A bright square that moves over a gradient: `[T, H * 3 // 2, W]`."""
    rows, columns = np.indices((height, width))
    frames = np.empty((n_frames, height * 3 // 2, width), np.uint8)
    for number in range(n_frames):
        luma = (rows * 3 + columns * 2 + clip * 40) % 160 + 30
        left = (number * 3 + clip * 7) % (width - 8)
        top = (number + clip * 5) % (height - 8)
        luma[top : top + 8, left : left + 8] = 220
        chroma = np.full((height // 2, width), 110 + clip % 5 * 8)
        frames[number] = np.concatenate([luma, chroma])
    return frames


def publish(
    root: Path,
    shards: Sequence[tuple[str, Sequence[int]]],
    *,
    height: int = 48,
    width: int = 64,
    number: int = 1,
) -> Path:
    """Publish a version whose shards are `(split, [frames of each clip])`."""
    store, entries, rows, clips = Store(root), [], [], 0
    for split, lengths in shards:
        name = f"shards/{split}-{len(entries):06d}.tar"
        with store.stage() as staged:
            with ClipTarWriter(staged.file) as writer:
                for n_frames in lengths:
                    key = clip_key(f"file-{clips:04x}", 0)
                    box = ContentBox(0, 0, width, height)
                    clip = Clip(key, f"file-{clips:04x}", 0.0, n_frames, n_frames, 10.0, box)
                    writer.append(clip, encode_clip(pictures(clips, n_frames, height, width)))
                    clips += 1
            staged.publish(name)
        store.put_table(index_name(name), writer.index())
        entries.append(entry_of(store, name, split, lengths))
        rows += [catalog_row(placed, name, split) for placed in writer.placed]
    version = Version(number, None, {"clips": clips}, tuple(entries))
    create_catalog(store, version, VIDEO_SCHEMA.empty_table(), pa.Table.from_pylist(rows, CATALOG))
    assert create_version(store, version)
    return root


def entry_of(store: Store, name: str, split: str, lengths: Sequence[int]) -> ShardEntry:
    """What a version says of a shard as it lies there."""
    tar, index = store.read(name), store.read(index_name(name))
    histogram = {n: list(lengths).count(n) for n in sorted(set(lengths))}
    return ShardEntry(
        name,
        split,
        len(lengths),
        len(tar),
        hashlib.sha256(tar).hexdigest(),
        hashlib.sha256(index).hexdigest(),
        histogram,
    )


def catalog_row(placed: Placed, name: str, split: str) -> dict[str, Any]:
    """A clip of the catalog; its one score, `motion`, is a tenth of its number in the dataset."""
    place = {"decision": "kept", "split": split, "shard": name, "offset": placed.offset, "size": placed.size}
    return placed.clip.as_json() | place | {"motion": int(placed.clip.video_id[-4:], 16) / 10}


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory: pytest.TempPathFactory) -> MakeDataset:
    """A function that publishes a dataset in a fresh folder; arguments as `publish`."""

    def make(shards: Sequence[tuple[str, Sequence[int]]], **options: int) -> Path:
        return publish(tmp_path_factory.mktemp("dataset"), shards, **options)

    return make


@pytest.fixture(scope="session")
def dataset(make_dataset: MakeDataset) -> Path:
    """Three train shards with 2+2, 3 and 1+0+2 windows of 16 frames, one val shard with 2."""
    return make_dataset([("train", [32, 40]), ("train", [48]), ("val", [32]), ("train", [16, 12, 32])])
