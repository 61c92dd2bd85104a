from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.codec import CodecError, EncodedClip, decode_clip, encode_clip
from shards.index import ClipTarWriter, decode_frames, index_name, read_clip, read_index, sample_bytes
from shards.keys import clip_key
from shards.records import Clip, ContentBox
from shards.store import Store
from shards.tar import TarWriter, read_members, tar_bytes

FRAMES = np.random.default_rng(0).integers(16, 235, (16, 54, 64), np.uint8)
ENCODED = encode_clip(FRAMES)


def clip(number: int) -> Clip:
    return Clip(clip_key("file-abc", number), "file-abc", number / 10, 16, 16, 10.0, ContentBox(0, 2, 64, 30))


def write_pack(store: Store, clips: list[tuple[Clip, EncodedClip]]) -> str:
    with store.stage() as staged:
        with ClipTarWriter(staged.file) as tar:
            for one, encoded in clips:
                tar.append(one, encoded)
        staged.publish("packs/p.tar")
    store.put_table(index_name("packs/p.tar"), tar.index())
    return "packs/p.tar"


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


def test_a_size_that_was_planned_is_the_size_that_is_written() -> None:
    file = io.BytesIO()
    with ClipTarWriter(file) as tar:
        tar.append(clip(0), ENCODED)
        tar.append(clip(16), ENCODED)
    planned = sample_bytes(clip(0), len(ENCODED.mp4)) + sample_bytes(clip(16), len(ENCODED.mp4))
    assert tar.placed[1].offset + 512 > planned / 2
    assert len(file.getvalue()) == tar_bytes(planned)


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
