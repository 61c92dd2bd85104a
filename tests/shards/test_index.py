from __future__ import annotations

import io
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.codec import CodecError, EncodedClip, decode_clip, encode_clip
from shards.index import (
    ClipTarWriter,
    contents,
    decode_frames,
    gop_checksums,
    index_name,
    read_clip,
    read_index,
    read_index_rows,
    read_indexes,
    sample_bytes,
)
from shards.keys import clip_key
from shards.records import Clip, ContentBox
from shards.store import Store
from shards.tar import TarWriter, members_room, read_members, tar_bytes

FRAMES = np.random.default_rng(0).integers(16, 235, (16, 54, 64), np.uint8)
ENCODED = encode_clip(FRAMES)


def clip(number: int) -> Clip:
    return Clip(clip_key("file-abc", number), "file-abc", number / 10, 16, 16, 10.0, ContentBox(0, 2, 64, 30))


def write_pack(store: Store, clips: list[tuple[Clip, EncodedClip]], name: str = "packs/p.tar") -> str:
    with store.stage() as staged:
        with ClipTarWriter(staged.file) as tar:
            for one, encoded in clips:
                tar.append(one, encoded)
        staged.publish(name)
    store.put_table(index_name(name), tar.index())
    return name


def test_the_index_gives_back_what_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    pack = write_pack(store, [(clip(n), ENCODED) for n in range(0, 48, 16)])
    placed = read_index(store, pack)
    assert [one.clip for one in placed] == [clip(n) for n in range(0, 48, 16)]
    for one in placed:
        encoded = read_clip(store, pack, one)
        assert encoded == ENCODED
        assert np.array_equal(decode_frames(encoded), decode_clip(ENCODED.mp4))


# webdataset leaves the files it opens to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_reader_of_the_format_reads_the_tar(tmp_path: Path) -> None:
    store = Store(tmp_path)
    pack = write_pack(store, [(clip(n), ENCODED) for n in range(0, 48, 16)])
    samples = list(webdataset.WebDataset(str(store.path(pack)), shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == [clip(n).key for n in range(0, 48, 16)]
    assert samples[1]["json"] == clip(16).as_json()
    with tarfile.open(store.path(pack)) as tar:
        assert all((m.mtime, m.uid, m.gid, m.uname, m.gname) == (0, 0, 0, "", "") for m in tar.getmembers())


KINDS = st.builds(
    Clip,
    st.builds(clip_key, st.just("file-abc"), st.integers(0, 10**9)),
    st.sampled_from(["file-abc", "youtube-dQw4w9WgXcQ"]),
    st.floats(0, 1e6),
    st.integers(1, 10**6),
    st.integers(1, 160),
    st.sampled_from([10.0, 29.97, 15.0]),
    st.builds(ContentBox, *[st.integers(0, 20_000)] * 4),
)
MP4S = st.binary(max_size=2000).map(lambda mp4: EncodedClip(mp4, (len(mp4),), b""))


@given(st.lists(st.tuples(KINDS, MP4S), max_size=9))
def test_a_size_that_was_planned_is_the_size_that_is_written(clips: list[tuple[Clip, EncodedClip]]) -> None:
    file = io.BytesIO()
    with ClipTarWriter(file) as tar:
        for one, encoded in clips:
            tar.append(one, encoded)
    planned = sample_bytes(tar.index())
    ends = np.cumsum(planned)
    assert [placed.offset for placed in tar.placed] == [512, *(ends[:-1] + 512)][: len(clips)]
    size = tar_bytes(int(planned.sum()))
    assert len(file.getvalue()) == size
    assert planned.sum() <= members_room(size)
    assert planned.sum() > members_room(size - 1) or not clips


@given(st.lists(st.tuples(KINDS, MP4S), min_size=1, max_size=9))
def test_equal_samples_have_equal_contents(clips: list[tuple[Clip, EncodedClip]]) -> None:
    file = io.BytesIO()
    with ClipTarWriter(file) as tar:
        for one, encoded in [*clips, *clips]:
            tar.append(one, encoded)
    told = contents(tar.index())
    assert told[: len(clips)] == told[len(clips) :]
    samples = {(replace(one, key="", video_id=""), encoded) for one, encoded in clips}
    assert len(set(told.to_pylist())) == len(samples)
    index = tar.index()
    flipped = pa.array([placed.crc32 ^ 1 for placed in tar.placed], pa.uint32())
    changed = index.set_column(index.schema.get_field_index("crc32"), "crc32", flipped)
    assert not set(contents(index).to_pylist()) & set(contents(changed).to_pylist())


def test_each_group_of_frames_has_its_checksum() -> None:
    mp4 = b"head" + bytes(range(30))
    sizes = (3, 1, 4, 2, 20)
    checksums = gop_checksums(EncodedClip(mp4, sizes, b""), 2)
    assert checksums == (zlib.crc32(mp4[4:8]), zlib.crc32(mp4[8:14]), zlib.crc32(mp4[14:]))
    with pytest.raises(ValueError, match="gop_frames is 0"):
        gop_checksums(EncodedClip(mp4, sizes, b""), 0)


def test_rows_and_columns_are_those_of_the_whole_index(tmp_path: Path) -> None:
    store = Store(tmp_path)
    pack = write_pack(store, [(clip(n), ENCODED) for n in range(0, 48, 16)])
    placed = read_index(store, pack)
    assert list(read_index_rows(store, [pack, pack], [2, 0])) == [placed[2], placed[0]]
    other = write_pack(store, [(clip(n), ENCODED) for n in range(48, 80, 16)], "packs/q.tar")
    beside = read_index(store, other)
    assert list(read_index_rows(store, [pack, other, pack, other], [1, 1, 0, 0])) == [
        placed[1],
        beside[1],
        placed[0],
        beside[0],
    ]
    assert list(read_index_rows(store, [], [])) == []
    rows = read_indexes(store, [pack, pack], ["key", "offset"])
    assert rows["key"].to_pylist() == [one.clip.key for one in placed] * 2
    assert rows["object"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert rows["row"].to_pylist() == [0, 1, 2] * 2
    assert read_indexes(store, [], ["key", "offset"]).schema.names == rows.schema.names


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    pack = write_pack(store, [(clip(0), ENCODED)])
    data = bytearray(store.read(pack))
    data[2000] ^= 1
    store.put(pack, bytes(data))
    with pytest.raises(CodecError, match="damaged"):
        read_clip(store, pack, read_index(store, pack)[0])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["mp4", "json", "steps.npz"]), st.binary(max_size=2000)), max_size=6
    )
)
def test_members_are_found_where_the_writer_said(samples: list[dict[str, bytes]]) -> None:
    file = io.BytesIO()
    places = []
    with TarWriter(file) as tar:
        for number, members in enumerate(samples):
            places += tar.append(f"k{number}", members).values()
    assert list(read_members(io.BytesIO(file.getvalue()))) == places
    for place, data in zip(places, (d for members in samples for d in members.values()), strict=True):
        assert file.getvalue()[place.offset : place.offset + place.size] == data
