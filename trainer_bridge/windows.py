"""Windows as arrays: their packets by few ranged reads, their frames from decoders that stay open.

No container is ever opened: the index says where each packet lies. Every group of pictures is held
against its CRC-32 before it is decoded, and a window whose bytes are damaged is replaced by another
one of its shard. Which one is a function of the window's draw and of the bytes, and of nothing that
happened before, so ranks, workers and restarts agree on it.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from time import perf_counter
from typing import NamedTuple

from av.video.frame import VideoFrame

from shards.ahead import in_order
from shards.codec import CodecError, Frames, PacketDecoder, split_packets
from shards.errors import UserError
from shards.manifest import ShardEntry
from shards.store import Store
from trainer_bridge.cache import Cache
from trainer_bridge.canvas import Canvas, OddOneOut
from trainer_bridge.colour import CLIP_COLOUR, Colour
from trainer_bridge.indexes import ShardIndex, Span, WindowRules
from trainer_bridge.order import BLOCK_SHARDS, IntArray, WindowPlace, next_draw
from trainer_bridge.reads import OpenShard, Piece, Read, pieces, reads

MOST_TRIES = 64
"""So many windows are tried in the place of a damaged one."""

MOST_DECODERS = 64
"""So many decoders are open at most, one for each encoding; a dataset has one, or a few."""


@dataclass(frozen=True)
class ReaderPart:
    """One dataset's share of what is read.

    Attributes:
        shards: of the split, in the order of the version file.
        rows: for each shard the clips that take part, as rows of its index; None for all.
    """

    store: Store
    shards: Sequence[ShardEntry]
    rows: Sequence[IntArray] | None = None


class Replaced(NamedTuple):
    """A window that was damaged, and the one that stands in for it.

    Attributes:
        why: where the damage is and what it is, in one line.
    """

    key: str
    start: int
    by_key: str
    by_start: int
    why: str


@dataclass
class Share:
    """Windows as they were read.

    Attributes:
        planes: I420 pictures `[B, T, H * 3 // 2, W]` uint8; of a clip shorter than a window the last
            frame is repeated.
        keys: the clip of each window.
        starts: the clip's frame that is the window's first.
        frames: how many frames of each window are the clip's own.
        colour: what the planes' numbers mean.
        replaced: the damaged windows among them.
        read_s: seconds spent on getting the packets.
        decode_s: seconds spent on checking and decoding them.
        read_bytes: how many bytes were read.
    """

    planes: Frames
    keys: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    colour: Colour = CLIP_COLOUR
    replaced: list[Replaced] = field(default_factory=list)
    read_s: float = 0.0
    decode_s: float = 0.0
    read_bytes: int = 0


class WindowReader:
    """Reads windows; opens a shard when a window of it is first asked for.

    Args:
        parts: one for each dataset of a mixture.
        cache: where copies of remote shards may lie.
    """

    def __init__(self, parts: Sequence[ReaderPart], rules: WindowRules, cache: Cache | None = None) -> None:
        self._parts = parts
        self._rules = rules
        self._cache = cache
        # A batch comes from one block of shards of each part, so this many are in use at once.
        self._most_open = BLOCK_SHARDS * len(parts)
        self._open: OrderedDict[tuple[int, int], OpenShard] = OrderedDict()
        self._decoders: dict[bytes, PacketDecoder] = {}

    def identify(self, place: WindowPlace) -> tuple[str, int]:
        """The key and the first frame of a window, from the index alone.

        Raises:
            UserError: the index of its shard is missing or not the one that was published.
        """
        index = self._shard(place).index
        span = index.span(place.window, place.draw)
        return index.key(span.row), span.start

    def read(self, places: Sequence[WindowPlace]) -> Share:
        """Read and decode windows; those of one clip that follow one another are decoded together.

        Raises:
            UserError: a shard is missing or cut short, there is no sound window in the place of a
                damaged one, or frames differ in size.
        """
        shards = [self._shard(place) for place in places]
        spans = [
            shard.index.span(place.window, place.draw) for shard, place in zip(shards, places, strict=True)
        ]
        canvas = Canvas(len(places), self._rules.frames)
        share = Share(canvas.planes)
        damaged: dict[int, CodecError] = {}
        for piece, data in self._fetch(reads(pieces(zip(shards, spans, strict=True))), share):
            damaged |= self._decode(piece, data, share, canvas)
        for shard in [shard for shard in {shards[number] for number in damaged} if shard.distrust_copy()]:
            for number in [number for number in damaged if shards[number] is shard]:
                del damaged[number]
                damaged |= self._read_alone(shard, number, spans[number], share, canvas)
        for number in sorted(damaged):
            shard, span = shards[number], spans[number]
            spans[number] = self._replace(number, shard, places[number].draw, share, canvas)
            share.replaced.append(_told(shard, span, spans[number], damaged[number]))
        for shard, span in zip(shards, spans, strict=True):
            share.keys.append(shard.index.key(span.row))
            share.starts.append(span.start)
            share.frames.append(span.frames)
        share.planes, share.colour = canvas.planes, canvas.colour
        return share

    def _fetch(self, planned: Sequence[Read], share: Share) -> Iterator[tuple[Piece, bytes]]:
        for store, of_store in groupby(planned, lambda read: read.shard.store):
            wanted = list(of_store)
            fetched = in_order(store, Read.fetch, wanted, lambda read: read.size)
            for read in wanted:
                begun = perf_counter()
                data = next(fetched)
                share.read_s += perf_counter() - begun
                share.read_bytes += len(data)
                yield from read.of_pieces(data)

    def _decode(self, piece: Piece, data: bytes, share: Share, canvas: Canvas) -> dict[int, CodecError]:
        """Decode the windows of a piece; returns those that are damaged."""
        begun = perf_counter()
        try:
            with closing(self._pictures(piece, data)) as pictures:
                for at, picture in enumerate(pictures, piece.span.first_frame):
                    for number, span in piece.windows:
                        if 0 <= at - span.start < span.frames:
                            canvas.put(number, at - span.start, picture)
            for number, span in piece.windows:
                canvas.pad(number, span.frames)
        except OddOneOut as error:
            index, row = piece.shard.index, piece.span.row
            raise UserError(f"{piece.shard.where()}: clip {index.key(row)} {error}") from None
        except CodecError as error:
            if len(piece.windows) == 1:
                return {piece.windows[0][0]: error}
            # Only those in whose own bytes the damage is, so that it does not matter who reads with whom.
            found: dict[int, CodecError] = {}
            for number, span in piece.windows:
                alone = Piece.of(piece.shard, number, span)
                found |= self._decode(alone, data[alone.byte - piece.byte :][: alone.size], share, canvas)
            return found
        finally:
            share.decode_s += perf_counter() - begun
        return {}

    def _pictures(self, piece: Piece, data: bytes) -> Generator[VideoFrame, None, None]:
        """The pictures from the first frame of a piece's first group to its last frame, as they are decoded.

        Raises:
            CodecError: bytes are not those that were published, or do not decode.
        """
        span, index = piece.span, piece.shard.index
        packets = split_packets(data, piece.sizes)
        for group in range(span.first_group, span.end_group):
            begin = (group - span.first_group) * span.gop_frames
            whole = (
                data
                if len(packets) <= span.gop_frames
                else b"".join(packets[begin : begin + span.gop_frames])
            )
            if zlib.crc32(whole) != index.crc32(span.row, group):
                raise CodecError("crc32")
        extradata = index.extradata(span.row)
        if extradata not in self._decoders:
            if len(self._decoders) == MOST_DECODERS:
                self._decoders.clear()
            self._decoders[extradata] = PacketDecoder(extradata)
        return self._decoders[extradata].pictures(packets[: span.start + span.frames - span.first_frame])

    def _read_alone(
        self, shard: OpenShard, number: int, span: Span, share: Share, canvas: Canvas
    ) -> dict[int, CodecError]:
        """Read and decode one window; returns it if it is damaged."""
        found: dict[int, CodecError] = {}
        for piece, data in self._fetch(reads([Piece.of(shard, number, span)]), share):
            found |= self._decode(piece, data, share, canvas)
        return found

    def _replace(self, number: int, shard: OpenShard, draw: int, share: Share, canvas: Canvas) -> Span:
        for _ in range(MOST_TRIES):
            draw = next_draw(draw)
            start_draw, window = divmod(draw, shard.index.windows)
            span = shard.index.span(window, start_draw)
            if not self._read_alone(shard, number, span, share, canvas):
                return span
        raise UserError(
            f"{shard.where()}: {MOST_TRIES} windows of it, drawn in the place of a damaged one, are damaged "
            "too; bring the published file back; `genieset verify` tells all damage"
        )

    def _shard(self, place: WindowPlace) -> OpenShard:
        wanted = (place.part, place.shard)
        if wanted in self._open:
            self._open.move_to_end(wanted)
            return self._open[wanted]
        part = self._parts[place.part]
        entry = part.shards[place.shard]
        rows = None if part.rows is None else part.rows[place.shard]
        index = ShardIndex(part.store, entry, self._rules, rows)
        self._open[wanted] = OpenShard(part.store, entry, index, self._cache)
        if len(self._open) > self._most_open:
            self._open.popitem(last=False)[1].close()
        return self._open[wanted]


def _told(shard: OpenShard, span: Span, by: Span, error: CodecError) -> Replaced:
    key, (byte, _) = shard.index.key(span.row), shard.index.packets(span)
    return Replaced(
        key,
        span.start,
        shard.index.key(by.row),
        by.start,
        f"{shard.where()}: clip {key} at byte {byte} is damaged ({error})",
    )
