"""One window: its packets by one ranged read, its frames from a decoder that stays open.

No container is ever opened: the index says where each frame's packet lies. A shard's index is kept
as the Arrow table it is stored as, some 800 bytes a clip.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from time import perf_counter
from typing import Any, NamedTuple

from shards.codec import CodecError, Frames, PacketDecoder, split_packets
from shards.errors import UserError
from shards.index import index_name
from shards.manifest import ShardEntry
from shards.store import Store
from trainer_bridge.order import BLOCK_SHARDS, WindowPlace

_COLUMNS = ["key", "n_frames", "offset", "size", "packet_sizes", "gop_frames", "extradata"]


class Window(NamedTuple):
    """A window as it was read.

    Attributes:
        key: the clip's key.
        start: the clip's frame that is the window's first.
        planes: I420 pictures `[T, H * 3 // 2, W]` uint8.
        read_s: seconds spent on getting the packets.
        decode_s: seconds spent on decoding them.
    """

    key: str
    start: int
    planes: Frames
    read_s: float
    decode_s: float


class WindowReader:
    """Reads windows of one split; opens a shard when a window of it is first asked for.

    Args:
        shards: the split's shards, in the order of the version file.
        window: frames a window, >= 1; a clip's windows begin at its frames 0, `window`, 2 * `window`...
    """

    def __init__(self, store: Store, shards: Sequence[ShardEntry], window: int) -> None:
        self._store = store
        self._shards = shards
        self._window = window
        # A batch comes from one block of shards, so this many are in use at once.
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()
        self._decoders: dict[bytes, PacketDecoder] = {}

    def identify(self, place: WindowPlace) -> tuple[str, int]:
        """The key and the first frame of a window, from the index alone.

        Raises:
            UserError: the shard is missing or its index is not the one that was published.
        """
        shard = self._shard(place.shard)
        row, start = shard.locate(place.window)
        return shard.value("key", row), start

    def read(self, place: WindowPlace) -> Window:
        """Read and decode a window.

        Raises:
            UserError: the shard is missing, or the clip's packets do not decode; the line names the
                shard, the clip's key and the byte.
        """
        begun = perf_counter()
        shard = self._shard(place.shard)
        row, start = shard.locate(place.window)
        # A run of packets decodes from a key frame on, and key frames are the multiples of the GOP.
        lead = start % shard.value("gop_frames", row)
        byte, sizes = shard.packets(row, start - lead, start + self._window)
        data = shard.read(byte, sum(sizes))
        read = perf_counter()
        try:
            frames = self._decoder(shard.value("extradata", row)).decode(split_packets(data, sizes))
        except CodecError as error:
            raise UserError(
                f"{self._store.where(shard.name)}: clip {shard.value('key', row)} at byte {byte} is damaged "
                f"({error}); `genieset verify` finds every such clip"
            ) from error
        return Window(shard.value("key", row), start, frames[lead:], read - begun, perf_counter() - read)

    def _shard(self, number: int) -> _OpenShard:
        if number in self._open:
            self._open.move_to_end(number)
        else:
            self._open[number] = _OpenShard(self._store, self._shards[number], self._window)
            if len(self._open) > BLOCK_SHARDS:
                self._open.popitem(last=False)
        return self._open[number]

    def _decoder(self, extradata: bytes) -> PacketDecoder:
        if extradata not in self._decoders:
            self._decoders[extradata] = PacketDecoder(extradata)
        return self._decoders[extradata]


class _OpenShard:
    """A shard's index and its open tar; the tar is closed with the last reference to it."""

    def __init__(self, store: Store, entry: ShardEntry, window: int) -> None:
        self.name = entry.name
        try:
            self._index = store.read_table(index_name(entry.name), columns=_COLUMNS).combine_chunks()
            store.size_bytes(entry.name)
            self._tar = store.ranges(entry.name)
        except FileNotFoundError as error:
            raise UserError(
                f"{error.filename}: missing, though the dataset's version names it; "
                "bring it back, or publish anew with `genieset build`"
            ) from error
        if self._index.num_rows != entry.samples:
            raise UserError(
                f"{store.where(index_name(entry.name))}: has {self._index.num_rows} clips where the version "
                f"names {entry.samples}; bring the published file back"
            )
        self._window = window
        self._ends = list(accumulate(n // window for n in self._index["n_frames"].to_pylist()))

    def locate(self, window: int) -> tuple[int, int]:
        """The row of the clip that a window belongs to, and the window's first frame in it."""
        row = bisect_right(self._ends, window)
        return row, (window - (self._ends[row - 1] if row else 0)) * self._window

    def value(self, column: str, row: int) -> Any:
        return self._index[column][row].as_py()

    def packets(self, row: int, first: int, end: int) -> tuple[int, list[int]]:
        """Where the packets of the frames `first` to `end` - 1 begin in the tar, and their sizes."""
        sizes = self._index["packet_sizes"][row].values.to_numpy()
        byte = self.value("offset", row) + self.value("size", row) - int(sizes[first:].sum())
        return byte, sizes[first:end].tolist()

    def read(self, byte: int, size: int) -> bytes:
        return self._tar.read(byte, size)
