"""The index beside a tar: a row for each clip, with the place of every frame.

The same index stands beside a pack and beside a shard, so whatever reads clips reads both.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from json import dumps
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.ahead import in_order
from shards.codec import GOP_FRAMES, CodecError, EncodedClip, Frames, PacketDecoder, split_packets
from shards.errors import UserError
from shards.records import INDEX_SCHEMA, Clip, ContentBox, Placed
from shards.store import Store
from shards.tables import read_tables
from shards.tar import TarWriter, padded_bytes

Int: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]


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
                gop_crc32=gop_checksums(encoded, gop_frames),
            )
        )

    @property
    def placed(self) -> list[Placed]:
        """The clips written so far, in the order of the tar."""
        return self._placed

    def index(self) -> pa.Table:
        """The index of the clips written so far."""
        return index_table(self._placed)


def gop_checksums(encoded: EncodedClip, gop_frames: int) -> tuple[int, ...]:
    """CRC-32 of the packets of each group of `gop_frames` frames, the last of which may be shorter.

    Raises:
        ValueError: there are no groups of such a size.
    """
    if gop_frames < 1:
        raise ValueError(f"gop_frames is {gop_frames}")
    sizes = encoded.packet_sizes
    data, place, found = memoryview(encoded.mp4), len(encoded.mp4) - sum(sizes), []
    for first in range(0, len(sizes), gop_frames):
        end = place + sum(sizes[first : first + gop_frames])
        found.append(zlib.crc32(data[place:end]))
        place = end
    return tuple(found)


def index_table(placed: Iterable[Placed]) -> pa.Table:
    """A table of `INDEX_SCHEMA`."""
    return pa.Table.from_pylist([clip.as_row() for clip in placed], schema=INDEX_SCHEMA)


def index_name(tar_name: str) -> str:
    """The name of the index that lies beside a tar."""
    return tar_name.removesuffix(".tar") + ".parquet"


def read_index(store: Store, tar_name: str) -> list[Placed]:
    """The clips of a pack or shard, in the order of the tar."""
    return [Placed.from_row(row) for row in store.read_table(index_name(tar_name)).to_pylist()]


def read_index_rows(store: Store, tar_names: Sequence[str], rows: Sequence[int]) -> Iterator[Placed]:
    """Some clips of packs or shards, by their place in the tar; the index of each tar is read once.

    Args:
        tar_names: for each clip wanted.
        rows: likewise.
    """
    wanted: dict[str, list[int]] = {}
    for place, name in enumerate(tar_names):
        wanted.setdefault(name, []).append(place)

    def taken(name: str) -> pa.Table:
        return store.read_table(index_name(name)).take([rows[place] for place in wanted[name]])

    if not wanted:
        return
    found = pa.concat_tables(in_order(store, taken, wanted)).combine_chunks()
    order = np.argsort(np.concatenate([np.asarray(places) for places in wanted.values()]))
    # As rows of a table until their turn comes: as objects they are ten times the size.
    for row in order.tolist():
        yield Placed.from_row(found.slice(row, 1).to_pylist()[0])


def read_indexes(store: Store, tar_names: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """Columns of the indexes of many tars, one below the other; see `shards.tables.read_tables`."""
    schema = pa.schema([INDEX_SCHEMA.field(name) for name in columns])
    return read_tables(store, [index_name(name) for name in tar_names], schema)


def sample_bytes(rows: pa.Table) -> Int:
    """How many bytes each row of an index takes up in a tar, with its header and its JSON: int64."""
    empty = dict.fromkeys(Clip.__dataclass_fields__, 0)
    json_bytes = np.full(len(rows), len(_dumps(empty)) - len(empty), np.int64)
    for name in empty:
        column = rows[name].combine_chunks()
        if pa.types.is_string(column.type):
            # Of letters, digits, `_` and `-`, none of which is escaped.
            json_bytes += pc.binary_length(column).to_numpy() + len('""')
        elif pa.types.is_fixed_size_list(column.type):
            values = _boxes(rows)
            json_bytes += _number_bytes(values).sum(axis=1) + len("[,,,]")
        else:
            json_bytes += _number_bytes(column.to_numpy())
    return np.asarray(padded_bytes(rows["size"].to_numpy()) + padded_bytes(json_bytes), np.int64)


def _boxes(rows: pa.Table) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """The content boxes as they are stored: rows of x, y, width, height."""
    flat: np.ndarray[tuple[int], np.dtype[np.int32]] = (
        rows["content_box"].combine_chunks().flatten().to_numpy()
    )
    return flat.reshape(-1, len(ContentBox._fields))


def _number_bytes(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How long each number is in JSON; there are far fewer different ones than clips."""
    distinct, places = np.unique(values, return_inverse=True)
    return np.array([len(_dumps(value)) for value in distinct.tolist()], np.int64)[places]


def contents(rows: pa.Table) -> pa.Array:
    """For each row of an index all that makes up its sample, the place left out: equal for equal samples.

    The mp4 is told by its size and checksum.
    """
    columns = [rows[name].to_numpy().astype("<f8") for name in ("start_s", "fps")]
    whole = ("n_frames", "unique_frames", "gop_frames", "size", "crc32")
    columns = [column.view("<i8") for column in columns] + [rows[name].to_numpy() for name in whole]
    told = np.ascontiguousarray(np.column_stack([*columns, _boxes(rows)]).astype("<i8"))
    return pa.Array.from_buffers(CONTENT_TYPE, len(rows), [None, pa.py_buffer(told.tobytes())])


CONTENT = ("start_s", "n_frames", "unique_frames", "fps", "content_box", "size", "gop_frames", "crc32")
"""The columns that `contents` looks at."""

CONTENT_TYPE = pa.binary(8 * (len(CONTENT) - 1 + len(ContentBox._fields)))
"""The type of what it returns."""


def read_clip(store: Store, tar_name: str, placed: Placed) -> EncodedClip:
    """Read one clip out of a tar.

    Raises:
        CodecError: the bytes are not those that were written.
    """
    mp4 = store.read_range(tar_name, placed.offset, placed.size)
    if zlib.crc32(mp4) != placed.crc32:
        raise CodecError(f"{placed.clip.key}.mp4 in {tar_name} is damaged (crc32)")
    return EncodedClip(mp4, placed.packet_sizes, placed.extradata)


@contextmanager
def telling_damage(store: Store, tar_name: str) -> Iterator[None]:
    """Tell what is lost or damaged of a pack or shard while it is read.

    Raises:
        UserError: something is.
    """
    try:
        yield
    except (FileNotFoundError, CodecError) as error:
        lost = isinstance(error, FileNotFoundError)
        what = "is missing, or its index is" if lost else f"is damaged ({error})"
        raise UserError(
            f"{store.where(tar_name)}: {what}; bring it back from a copy; `genieset verify` names all damage"
        ) from None


def decode_frames(encoded: EncodedClip) -> Frames:
    """All frames of a clip that was read with its index, without opening its container."""
    packets = encoded.mp4[len(encoded.mp4) - sum(encoded.packet_sizes) :]
    return PacketDecoder(encoded.extradata).decode(split_packets(packets, encoded.packet_sizes))


def _members(clip: Clip, mp4: bytes) -> Mapping[str, bytes]:
    return {"mp4": mp4, "json": clip_json(clip)}


def clip_json(clip: Clip) -> bytes:
    """The bytes of `<key>.json`."""
    return _dumps(clip.as_json()).encode()


def _dumps(value: object) -> str:
    return dumps(value, sort_keys=True, separators=(",", ":"))
