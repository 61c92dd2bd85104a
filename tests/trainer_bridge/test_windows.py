from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shards.codec import decode_clip
from shards.errors import UserError
from shards.index import index_name, read_clip, read_index
from shards.manifest import read_version
from shards.store import Store
from trainer_bridge.order import WindowPlace
from trainer_bridge.windows import WindowReader

MakeDataset = Callable[..., Path]


def reader_of(root: Path, window: int) -> tuple[Store, WindowReader, str]:
    store = Store(root)
    shards = read_version(store).shards
    return store, WindowReader(store, shards, window), shards[0].name


@pytest.fixture(scope="module")
def root(make_dataset: MakeDataset) -> Path:
    return make_dataset([("train", [40, 9, 70])])


@pytest.mark.parametrize("window", [1, 10, 16, 24, 40])
def test_a_window_is_a_slice_of_its_clip(root: Path, window: int) -> None:
    # Windows of 10 and 24 begin between key frames, which lie 16 apart.
    store, reader, name = reader_of(root, window)
    expected = [
        (placed.clip.key, start, frames[start : start + window])
        for placed in read_index(store, name)
        for frames in [decode_clip(read_clip(store, name, placed).mp4)]
        for start in range(0, placed.clip.n_frames - window + 1, window)
    ]
    for number, (key, start, frames) in enumerate(expected):
        found = reader.read(WindowPlace(0, number))
        assert (found.key, found.start) == (key, start) == reader.identify(WindowPlace(0, number))
        assert np.array_equal(found.planes, frames)


def test_shards_beyond_a_block_are_closed(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer_bridge.windows.BLOCK_SHARDS", 2)
    _, reader, _ = reader_of(make_dataset([("train", [4])] * 4), window=4)
    fds = len(list(Path("/proc/self/fd").iterdir()))
    for shard in [0, 1, 2, 3, 0, 2]:
        assert reader.read(WindowPlace(shard, 0)).key == f"file-{shard:04x}_00000000"
    assert len(list(Path("/proc/self/fd").iterdir())) == fds + 2


def test_a_damaged_clip_is_named(make_dataset: MakeDataset) -> None:
    store, reader, name = reader_of(make_dataset([("train", [16, 32])]), window=16)
    placed = read_index(store, name)[1]
    byte = placed.offset + placed.size - sum(placed.packet_sizes[16:])
    with store.path(name).open("r+b") as file:
        file.seek(byte)
        file.write(b"\xff" * sum(placed.packet_sizes[16:]))
    reader.read(WindowPlace(0, 1))
    with pytest.raises(UserError, match=f"{name}: clip {placed.clip.key} at byte {byte} is damaged"):
        reader.read(WindowPlace(0, 2))


def test_a_tar_that_ends_too_early_is_named(make_dataset: MakeDataset) -> None:
    store, reader, name = reader_of(make_dataset([("train", [16])]), window=16)
    placed = read_index(store, name)[0]
    with store.path(name).open("r+b") as file:
        file.truncate(placed.offset + placed.size - 1)
    with pytest.raises(
        UserError, match=rf"clip {placed.clip.key} at byte \d+ is damaged \(\d+ bytes of packets"
    ):
        reader.read(WindowPlace(0, 0))


def test_a_missing_file_is_named(make_dataset: MakeDataset) -> None:
    for lost in (lambda name: name, index_name):
        store, reader, name = reader_of(make_dataset([("train", [16])]), window=16)
        store.path(lost(name)).unlink()
        with pytest.raises(UserError, match=f"{lost(name)}: missing, though the dataset's version names it"):
            reader.read(WindowPlace(0, 0))


def test_an_index_of_another_version_is_refused(make_dataset: MakeDataset) -> None:
    store, reader, name = reader_of(make_dataset([("train", [16, 16])]), window=16)
    store.put_table(index_name(name), store.read_table(index_name(name)).slice(0, 1))
    with pytest.raises(UserError, match="has 1 clips where the version names 2"):
        reader.read(WindowPlace(0, 0))
