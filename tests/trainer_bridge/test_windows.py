from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.codec import decode_clip
from shards.errors import UserError
from shards.index import index_name, read_clip, read_index
from shards.manifest import read_version
from shards.records import Placed
from shards.store import Store
from trainer_bridge.indexes import ShardIndex, WindowRules
from trainer_bridge.order import WindowPlace, windows_in
from trainer_bridge.windows import ReaderPart, WindowReader

MakeDataset = Callable[..., Path]


def place(window: int, shard: int = 0, draw: int = 0) -> WindowPlace:
    return WindowPlace(0, shard, window, draw)


def reader_of(root: Path, rules: WindowRules) -> tuple[Store, WindowReader, str]:
    store = Store(root)
    shards = read_version(store).shards
    return store, WindowReader([ReaderPart(store, shards)], rules), shards[0].name


def frames_of(store: Store, name: str) -> list[tuple[Placed, np.ndarray]]:
    return [(placed, decode_clip(read_clip(store, name, placed).mp4)) for placed in read_index(store, name)]


def flip(store: Store, name: str, placed: Placed, frame: int) -> int:
    """Change one bit of the packet of a frame; returns where its group of pictures begins."""
    group = frame // placed.gop_frames * placed.gop_frames
    with store.path(name).open("r+b") as file:
        file.seek(placed.offset + placed.size - sum(placed.packet_sizes[frame:]) + 3)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    return placed.offset + placed.size - sum(placed.packet_sizes[group:])


@pytest.fixture(scope="module")
def root(make_dataset: MakeDataset) -> Path:
    return make_dataset([("train", [40, 9, 70])])


@pytest.mark.parametrize("window", [1, 10, 16, 24, 40])
def test_a_window_is_a_slice_of_its_clip(root: Path, window: int) -> None:
    # Windows of 10 and 24 begin between key frames, which lie 16 apart.
    store, reader, name = reader_of(root, WindowRules(window))
    expected = [
        (placed.clip.key, start, frames[start : start + window])
        for placed, frames in frames_of(store, name)
        for start in range(0, placed.clip.n_frames - window + 1, window)
    ]
    # One at a time, and all together, when those of a clip are decoded at once.
    for places in [[number] for number in range(len(expected))] + [list(range(len(expected)))]:
        share = reader.read([place(number) for number in places])
        for at, number in enumerate(places):
            key, start, frames = expected[number]
            assert (share.keys[at], share.starts[at]) == (key, start) == reader.identify(place(number))
            assert share.frames[at] == window
            assert np.array_equal(share.planes[at], frames)
        assert share.replaced == []
        assert share.read_bytes > 0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_windows_that_begin_anywhere(root: Path, data: st.DataObject) -> None:
    window = data.draw(st.integers(1, 40))
    store, reader, name = reader_of(root, WindowRules(window, "anywhere"))
    count = windows_in(read_version(store).shards[0].clips_by_frames, window)
    places = [
        place(data.draw(st.integers(0, count - 1)), draw=data.draw(st.integers(0, 2**64 - 1)))
        for _ in range(data.draw(st.integers(1, 6)))
    ]
    share = reader.read(sorted(places))
    frames = {placed.clip.key: frames for placed, frames in frames_of(store, name)}
    for at, one in enumerate(sorted(places)):
        key, start = share.keys[at], share.starts[at]
        assert (key, start) == reader.identify(one)
        assert np.array_equal(share.planes[at], frames[key][start : start + window])


@given(st.integers(1, 30), st.integers(1, 200))
def test_starts_anywhere_cover_the_clip_and_do_not_meet(window: int, more: int) -> None:
    length = window + more
    index = index_of([length], WindowRules(window, "anywhere"))
    count = length // window
    assert index.windows == count
    stretches = [{index.span(number, draw).start for draw in range(2 * length)} for number in range(count)]
    assert sorted(start for stretch in stretches for start in stretch) == list(range(more + 1))


def index_of(lengths: list[int], rules: WindowRules) -> ShardIndex:
    index = ShardIndex.__new__(ShardIndex)
    index._rules = rules
    index._n_frames = np.array(lengths)
    index._gop_frames = np.full(len(lengths), 16)
    index._select(None)
    return index


def test_a_short_clip_is_padded_if_asked(root: Path) -> None:
    store, reader, name = reader_of(root, WindowRules(16, short="pad"))
    (_, frames) = frames_of(store, name)[1]
    share = reader.read([place(1), place(2), place(3)])
    assert share.frames == [16, 9, 16]
    assert share.starts[1] == 0
    assert np.array_equal(share.planes[1, :9], frames)
    assert (share.planes[1, 9:] == frames[8]).all()


def test_only_selected_clips_take_part(root: Path) -> None:
    store = Store(root)
    shards = read_version(store).shards
    reader = WindowReader([ReaderPart(store, shards, [np.array([2])])], WindowRules(16))
    keys = [placed.clip.key for placed in read_index(store, shards[0].name)]
    assert reader.identify(place(0)) == (keys[2], 0)
    assert reader.identify(place(3)) == (keys[2], 48)


def test_windows_that_lie_together_are_one_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, reader, name = reader_of(root, WindowRules(16))
    sizes = []
    real = store.backend.ranges(name).__class__.read
    monkeypatch.setattr(
        "shards.local_store.FileRanges.read",
        lambda self, byte, size: sizes.append(size) or real(self, byte, size),
    )
    share = reader.read([place(number) for number in (0, 1, 2, 3, 4, 5)])
    assert len(sizes) == 1
    assert share.read_bytes == sizes[0]
    del sizes[:]
    reader.read([place(2), place(4)])
    packets = sum(read_index(store, name)[2].packet_sizes[16:32])
    # What lies between is less than a request costs.
    assert packets < sum(sizes)
    assert len(sizes) == 1


def test_shards_beyond_a_block_are_closed(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer_bridge.windows.BLOCK_SHARDS", 2)
    _, reader, _ = reader_of(make_dataset([("train", [4])] * 4), WindowRules(4))
    fds = len(list(Path("/proc/self/fd").iterdir()))
    for shard in [0, 1, 2, 3, 0, 2]:
        assert reader.read([place(0, shard)]).keys == [f"file-{shard:04x}_00000000"]
    assert len(list(Path("/proc/self/fd").iterdir())) == fds + 2


@pytest.mark.parametrize("starts", ["aligned", "anywhere"])
def test_a_damaged_window_is_replaced_by_rule(make_dataset: MakeDataset, starts: str) -> None:
    root = make_dataset([("train", [32, 48, 32])])
    rules = WindowRules(16, starts)  # type: ignore[arg-type]
    store, reader, name = reader_of(root, rules)
    placed = read_index(store, name)[1]
    places = [place(number, draw=number + 5) for number in range(7)]
    before = reader.read(places)
    byte = flip(store, name, placed, 21)
    share = reader_of(root, rules)[1].read(places)
    hit = [at for at in range(7) if before.keys[at] == placed.clip.key and -16 < before.starts[at] - 21 <= 10]
    hit = [at for at in hit if before.starts[at] // 16 <= 1 <= (before.starts[at] + 15) // 16]
    assert [(one.key, one.start) for one in share.replaced] == [
        (before.keys[at], before.starts[at]) for at in hit
    ]
    assert hit
    for one in share.replaced:
        assert f"{name}: clip {placed.clip.key} at byte" in one.why
        assert one.why.endswith("is damaged (crc32)")
    if starts == "aligned":
        assert f"at byte {byte} " in share.replaced[0].why
    frames = {one.clip.key: frames for one, frames in frames_before(store, name, placed, root)}
    for at in range(7):
        if at not in hit:
            assert np.array_equal(share.planes[at], before.planes[at])
        else:
            key, start = share.keys[at], share.starts[at]
            assert np.array_equal(share.planes[at], frames[key][start : start + 16])
    # Whoever reads it, alone or with others, finds the same.
    for at in hit:
        alone = reader_of(root, rules)[1].read([places[at]])
        assert (alone.keys[0], alone.starts[0]) == (share.keys[at], share.starts[at])


def frames_before(store: Store, name: str, placed: Placed, root: Path) -> list[tuple[Placed, np.ndarray]]:
    """The frames of a shard, with the bit of `flip` turned back."""
    flip(store, name, placed, 21)
    found = frames_of(store, name)
    flip(store, name, placed, 21)
    return found


def test_where_all_is_damaged_it_is_told(make_dataset: MakeDataset) -> None:
    store, reader, name = reader_of(make_dataset([("train", [32])]), WindowRules(16))
    placed = read_index(store, name)[0]
    flip(store, name, placed, 3)
    flip(store, name, placed, 17)
    with pytest.raises(UserError, match=rf"{name}: 64 windows of it, drawn in the place of a damaged one"):
        reader.read([place(1)])


def test_a_tar_that_ends_too_early_is_named(make_dataset: MakeDataset) -> None:
    store, reader, name = reader_of(make_dataset([("train", [16])]), WindowRules(16))
    size = store.size_bytes(name)
    with store.path(name).open("r+b") as file:
        file.truncate(size - 1)
    with pytest.raises(UserError, match=rf"{name}: is damaged \(has {size - 1:,} bytes, was published with"):
        reader.read([place(0)])


def test_a_missing_file_is_named(make_dataset: MakeDataset) -> None:
    for lost in (lambda name: name, index_name):
        store, reader, name = reader_of(make_dataset([("train", [16])]), WindowRules(16))
        store.path(lost(name)).unlink()
        with pytest.raises(UserError, match=f"{lost(name)}: missing, though the dataset's version names it"):
            reader.read([place(0)])


def test_an_index_of_another_version_is_refused(make_dataset: MakeDataset) -> None:
    store, reader, name = reader_of(make_dataset([("train", [16, 16])]), WindowRules(16))
    store.put_table(index_name(name), store.read_table(index_name(name)).slice(0, 1))
    with pytest.raises(UserError, match=r"is damaged \(its SHA-256 is not the version's"):
        reader.read([place(0)])


def test_frames_of_two_sizes_are_no_batch(make_dataset: MakeDataset) -> None:
    small, large = (
        make_dataset([("train", [16])], height=height, width=width) for height, width in [(48, 64), (32, 64)]
    )
    parts = [ReaderPart(Store(root), read_version(Store(root)).shards) for root in (small, large)]
    reader = WindowReader(parts, WindowRules(16))
    with pytest.raises(UserError, match="has frames of 64x32, others of its batch have 64x48"):
        reader.read([WindowPlace(0, 0, 0, 0), WindowPlace(1, 0, 0, 0)])
