"""The index beside a tar: a row for each clip, with the place of every frame.

The same index stands beside a pack and beside a shard, so whatever reads clips reads both.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from json import dumps
from typing import BinaryIO

import pyarrow as pa

from shards.codec import GOP_FRAMES, CodecError, EncodedClip, Frames, PacketDecoder, split_packets
from shards.records import INDEX_SCHEMA, Clip, Placed
from shards.store import Store
from shards.tar import TarWriter, padded_bytes


class ClipTarWriter:
    """Writes clips into a tar and collects their index. Use as a context manager."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = TarWriter(file)
        self._placed: list[Placed] = []

    def __enter__(self) -> ClipTarWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.__exit__()

    def append(self, clip: Clip, encoded: EncodedClip, gop_frames: int = GOP_FRAMES) -> None:
        """Write `<key>.mp4` and `<key>.json`."""
        place = self._tar.append(clip.key, _members(clip, encoded.mp4))["mp4"]
        self._placed.append(
            Placed(
                clip=clip,
                offset=place.offset,
                size=place.size,
                packet_sizes=encoded.packet_sizes,
                gop_frames=gop_frames,
                extradata=encoded.extradata,
                crc32=zlib.crc32(encoded.mp4),
            )
        )

    @property
    def placed(self) -> list[Placed]:
        """The clips written so far, in the order of the tar."""
        return self._placed

    def index(self) -> pa.Table:
        """The index of the clips written so far."""
        return index_table(self._placed)


def index_table(placed: Iterable[Placed]) -> pa.Table:
    """A table of `INDEX_SCHEMA`."""
    return pa.Table.from_pylist([clip.as_row() for clip in placed], schema=INDEX_SCHEMA)


def index_name(tar_name: str) -> str:
    """The name of the index that lies beside a tar."""
    return tar_name.removesuffix(".tar") + ".parquet"


def read_index(store: Store, tar_name: str) -> list[Placed]:
    """The clips of a pack or shard, in the order of the tar."""
    return [Placed.from_row(row) for row in store.read_table(index_name(tar_name)).to_pylist()]


def sample_bytes(clip: Clip, mp4_size: int) -> int:
    """How many bytes a clip takes up in a tar."""
    return padded_bytes(mp4_size) + padded_bytes(len(clip_json(clip)))


def read_clip(store: Store, tar_name: str, placed: Placed) -> EncodedClip:
    """Read one clip out of a tar.

    Raises:
        CodecError: the bytes are not those that were written.
    """
    mp4 = store.read_range(tar_name, placed.offset, placed.size)
    if zlib.crc32(mp4) != placed.crc32:
        raise CodecError(f"{placed.clip.key}.mp4 in {tar_name} is damaged (crc32)")
    return EncodedClip(mp4, placed.packet_sizes, placed.extradata)


def decode_frames(encoded: EncodedClip) -> Frames:
    """All frames of a clip that was read with its index, without opening its container."""
    packets = encoded.mp4[len(encoded.mp4) - sum(encoded.packet_sizes) :]
    return PacketDecoder(encoded.extradata).decode(split_packets(packets, encoded.packet_sizes))


def _members(clip: Clip, mp4: bytes) -> Mapping[str, bytes]:
    return {"mp4": mp4, "json": clip_json(clip)}


def clip_json(clip: Clip) -> bytes:
    """The bytes of `<key>.json`."""
    return dumps(clip.as_json(), sort_keys=True, separators=(",", ":")).encode()
