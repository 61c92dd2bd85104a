"""A small published dataset of synthetic clips, each frame of which says which clip and frame it is."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from shards.codec import Frames, encode_clip
from shards.index import ClipTarWriter, index_name
from shards.keys import clip_key
from shards.manifest import ShardEntry, Version, create_version
from shards.records import Clip, ContentBox
from shards.store import Store

MakeDataset = Callable[..., Path]


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
    store, entries, clips = Store(root), [], 0
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
        histogram = {n: list(lengths).count(n) for n in sorted(set(lengths))}
        entries.append(ShardEntry(name, split, len(lengths), 0, "", "", histogram))
    assert create_version(store, Version(number, None, {"clips": clips}, tuple(entries)))
    return root


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
