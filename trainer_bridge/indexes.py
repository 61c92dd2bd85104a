"""The index of a shard as a stream uses it: which clip a window belongs to, and where its bytes lie.

Indexes are loaded a shard at a time and kept as the arrays they are stored as, some 2 kB a clip.
"""

from __future__ import annotations

import hashlib
import io
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import UserError
from shards.index import index_name
from shards.manifest import ShardEntry
from shards.store import Store
from trainer_bridge.order import IntArray, Short

Starts = Literal["aligned", "anywhere"]
"""Where windows begin: at multiples of their length, or at a frame that is drawn anew each epoch."""

_COLUMNS = ["key", "n_frames", "offset", "size", "packet_sizes", "gop_frames", "gop_crc32", "extradata"]


class WindowRules(NamedTuple):
    """What a window is.

    Attributes:
        frames: how many it has, >= 1.
        starts: `aligned` windows of a clip begin at its frames 0, `frames`, 2 * `frames`...; of those
            `anywhere`, each begins at a frame drawn from its own stretch of the clip, so that together
            they cover it and every frame but the last ones can be a first.
        short: whether clips shorter than a window are left out or padded.
    """

    frames: int
    starts: Starts = "aligned"
    short: Short = "drop"


class Span(NamedTuple):
    """Where frames of a clip lie.

    Attributes:
        row: the clip's row in the index.
        start: the first of the frames.
        frames: how many they are; of a clip that is shorter than a window, fewer than a window has.
        gop_frames: from one key frame of the clip to the next.
    """

    row: int
    start: int
    frames: int
    gop_frames: int

    @property
    def first_group(self) -> int:
        """The group of pictures that the first frame is in."""
        return self.start // self.gop_frames

    @property
    def end_group(self) -> int:
        """The group behind the one that the last frame is in."""
        return -(-(self.start + self.frames) // self.gop_frames)

    @property
    def first_frame(self) -> int:
        """The key frame that decoding begins at."""
        return self.first_group * self.gop_frames

    def overlaps(self, other: Span) -> bool:
        """Whether another span begins in these groups of pictures."""
        return self.row == other.row and self.first_group <= other.first_group < self.end_group

    def through(self, other: Span) -> Span:
        """From the first frame of this one to the last of both."""
        end = max(self.start + self.frames, other.start + other.frames)
        return self._replace(frames=end - self.start)


class ShardIndex:
    """The index of one shard.

    Args:
        rows: the clips that take part, as rows of the index; all by default.

    Raises:
        UserError: it is missing, or is not the one that was published.
    """

    def __init__(self, store: Store, entry: ShardEntry, rules: WindowRules, rows: IntArray | None) -> None:
        table = _read(store, entry)
        self._rules = rules
        self._keys = table["key"].combine_chunks()
        self._extradata = table["extradata"].combine_chunks()
        self._n_frames = table["n_frames"].to_numpy()
        self._gop_frames = table["gop_frames"].to_numpy()
        sizes = table["packet_sizes"].combine_chunks()
        crcs = table["gop_crc32"].combine_chunks()
        self._packets, self._first_packet = sizes.values.to_numpy(), sizes.offsets.to_numpy()
        self._crcs, self._first_crc = crcs.values.to_numpy(), crcs.offsets.to_numpy()
        # Packet p lies at byte `_bytes[p] + _base[row]` of the tar: a clip's packets end where its mp4 does.
        self._bytes = np.concatenate([[0], np.cumsum(self._packets, dtype=np.int64)])
        ends = table["offset"].to_numpy() + table["size"].to_numpy()
        self._base = ends - self._bytes[self._first_packet[1:]]
        self._select(rows)

    def _select(self, rows: IntArray | None) -> None:
        self._rows = np.arange(len(self._n_frames)) if rows is None else rows
        least = 1 if self._rules.short == "pad" else 0
        self._windows = np.maximum(self._n_frames[self._rows] // self._rules.frames, least)
        self._ends = np.cumsum(self._windows)

    def span(self, window: int, draw: int) -> Span:
        """Where a window lies, by its number in the shard."""
        place = int(np.searchsorted(self._ends, window, side="right"))
        row, count = int(self._rows[place]), int(self._windows[place])
        number = window - int(self._ends[place]) + count
        length, wanted = int(self._n_frames[row]), self._rules.frames
        start = number * wanted
        if self._rules.starts == "anywhere" and length > wanted:
            starts = length - wanted + 1
            low, high = number * starts // count, (number + 1) * starts // count
            start = low + draw % (high - low)
        return Span(row, start, min(wanted, length - start), int(self._gop_frames[row]))

    @property
    def windows(self) -> int:
        """How many windows its clips have."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def key(self, row: int) -> str:
        """The key of a clip."""
        return str(self._keys[row])

    def extradata(self, row: int) -> bytes:
        """What a decoder needs before the first packet of a clip."""
        return bytes(self._extradata[row].as_buffer())

    def packets(self, span: Span) -> tuple[int, list[int]]:
        """Where a span's groups of pictures begin in the tar, and the sizes of their packets in bytes."""
        first = self._first_packet[span.row]
        begin = first + span.first_frame
        end = min(first + span.end_group * span.gop_frames, self._first_packet[span.row + 1])
        return int(self._base[span.row] + self._bytes[begin]), self._packets[begin:end].tolist()

    def crc32(self, row: int, group: int) -> int:
        """CRC-32 of the packets of a clip's group of pictures."""
        return int(self._crcs[self._first_crc[row] + group])


def _read(store: Store, entry: ShardEntry) -> pa.Table:
    name = index_name(entry.name)
    try:
        data = store.read(name)
    except FileNotFoundError:
        raise missing(store, name) from None
    if hashlib.sha256(data).hexdigest() != entry.index_sha256:
        raise damaged(store, name, "its SHA-256 is not the version's")
    return pq.read_table(io.BytesIO(data), columns=_COLUMNS, use_threads=False)


def damaged(store: Store, name: str, how: str) -> UserError:
    """What is told of an object that is not as it was published."""
    return UserError(
        f"{store.where(name)}: is damaged ({how}); bring the published file back; `genieset verify` tells "
        "all damage"
    )


def missing(store: Store, name: str) -> UserError:
    """What is told of an object that is not there."""
    return UserError(
        f"{store.where(name)}: missing, though the dataset's version names it; bring it back, or publish "
        "anew with `genieset build`"
    )
