"""Which bytes are read for some windows: groups of pictures that they share once, near places together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shards.backend import Ranges
from shards.manifest import ShardEntry
from shards.store import Store
from trainer_bridge.cache import Cache
from trainer_bridge.indexes import ShardIndex, Span, damaged, missing

CLOSE_BYTES = 16 * 1024
"""Places of one shard that lie nearer than this are read at once: a request costs more than these bytes."""


class OpenShard:
    """A shard that windows are read from; its tar is opened when its bytes are first asked for.

    Attributes:
        index: of its clips.
    """

    def __init__(self, store: Store, entry: ShardEntry, index: ShardIndex, cache: Cache | None) -> None:
        self.store = store
        self.index = index
        self._entry = entry
        self._cache = cache if store.is_remote else None
        self._published: Ranges | None = None
        self._copy: Ranges | None = None

    def read(self, byte: int, size: int) -> bytes:
        """Bytes of the tar, from the cache's copy once there is one.

        Raises:
            UserError: the tar is missing, or shorter than was published.
        """
        data = self._read(byte, size)
        if len(data) < size and self.distrust_copy():
            data = self._read(byte, size)
        if len(data) < size:
            raise damaged(self.store, self._entry.name, f"ends at byte {byte + len(data):,}")
        return data

    def _read(self, byte: int, size: int) -> bytes:
        if self._cache and not self._copy:
            self._copy = self._cache.ranges(self.store, self._entry)
        try:
            if self._copy:
                return self._copy.read(byte, size)
            if not self._published:
                self._published = self._open()
            return self._published.read(byte, size)
        except FileNotFoundError:
            raise missing(self.store, self._entry.name) from None

    def distrust_copy(self) -> bool:
        """Throw away a copy that gave damaged bytes; what was published is read from now on.

        Returns:
            Whether there was a copy: whatever is damaged is then to be read again.
        """
        if not self._copy or not self._cache:
            return False
        self._copy.close()
        self._cache.discard(self._entry)
        self._copy = self._cache = None
        return True

    def where(self) -> str:
        """The tar's place, as a person writes it."""
        return self.store.where(self._entry.name)

    def close(self) -> None:
        """Let go of the tar, and of its copy, which may then leave the cache."""
        for ranges in (self._copy, self._published):
            if ranges:
                ranges.close()
        self._copy = self._published = None

    def _open(self) -> Ranges:
        size = self.store.size_bytes(self._entry.name)
        if size != self._entry.bytes:
            told = f"has {size:,} bytes, was published with {self._entry.bytes:,}"
            raise damaged(self.store, self._entry.name, told)
        return self.store.ranges(self._entry.name)


@dataclass
class Piece:
    """Groups of pictures of one clip, and the windows that lie in them.

    Attributes:
        span: from the first window's first frame to the last one's last.
        byte: where the groups begin in the tar.
        sizes: of their packets, in bytes.
        windows: the windows' numbers in the batch, each with its own span.
    """

    shard: OpenShard
    span: Span
    byte: int
    sizes: list[int]
    windows: list[tuple[int, Span]]

    @classmethod
    def of(cls, shard: OpenShard, number: int, span: Span) -> Piece:
        """One window's own groups."""
        return cls(shard, span, *shard.index.packets(span), [(number, span)])

    @property
    def size(self) -> int:
        """How many bytes the groups are."""
        return sum(self.sizes)


def pieces(wanted: Iterable[tuple[OpenShard, Span]]) -> list[Piece]:
    """The windows that follow one another, those of one clip together where they share groups."""
    found: list[Piece] = []
    for number, (shard, span) in enumerate(wanted):
        last = found[-1] if found else None
        if last and last.shard is shard and last.span.overlaps(span):
            last.span = last.span.through(span)
            last.windows.append((number, span))
            _, last.sizes = shard.index.packets(last.span)
        else:
            found.append(Piece.of(shard, number, span))
    return found


@dataclass
class Read:
    """One read: pieces of one shard that lie near to each other.

    Attributes:
        byte: where it begins in the tar.
        size: how many bytes it is.
    """

    shard: OpenShard
    byte: int
    size: int
    pieces: list[Piece]

    def fetch(self) -> bytes:
        """The bytes."""
        return self.shard.read(self.byte, self.size)

    def of_pieces(self, data: bytes) -> Iterator[tuple[Piece, bytes]]:
        """What was read, by pieces."""
        for piece in self.pieces:
            begin = piece.byte - self.byte
            yield piece, data[begin : begin + piece.size] if len(self.pieces) > 1 else data


def reads(found: Iterable[Piece]) -> list[Read]:
    """The reads that pieces take."""
    planned: list[Read] = []
    for piece in found:
        last = planned[-1] if planned else None
        gap = piece.byte - last.byte - last.size if last else -1
        if last and last.shard is piece.shard and 0 <= gap <= CLOSE_BYTES:
            last.size = piece.byte + piece.size - last.byte
            last.pieces.append(piece)
        else:
            planned.append(Read(piece.shard, piece.byte, piece.size, [piece]))
    return planned
