"""A tar against its index, byte for byte, in one pass and a few megabytes."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from shards.checks.crc import changed_bytes
from shards.checks.faults import Fault
from shards.checks.layout import BLOCK_BYTES, Region, further_member, json_regions, mp4_regions
from shards.codec import CodecError, PacketDecoder, split_packets
from shards.records import Placed
from shards.tar import tar_bytes

_CHUNK_BYTES = 1 << 20

# Stepping back through so much takes about a second; clips have a hundredth of it.
_LONGEST_SEARCH_BYTES = 4_000_000
_MOST_CANDIDATES = 8


@dataclass
class TarSeen:
    """What one pass over a tar found.

    Attributes:
        sha256: of all its bytes.
        size_bytes: how many these are.
        faults: what is not as the index has it.
        damaged: keys of clips whose mp4 is not what the index knows.
    """

    sha256: str = ""
    size_bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)


def check_tar(file: BinaryIO, name: str, rows: Sequence[Placed], sha256: str) -> TarSeen:
    """Compare a tar with what its index says it holds.

    Args:
        rows: the rows of its index, of which no `layout.row_problem` is known.
        sha256: what its bytes once had, or how that begins; with it a single changed byte of an mp4 can be
            proved.
    """
    walk = _Walk(file)
    walk.all_rows(rows)
    walk.to_the_end()
    seen = TarSeen(walk.digest.hexdigest(), walk.place)
    if not seen.sha256.startswith(sha256):
        seen.faults = list(_tell(file, name, walk, seen.size_bytes, sha256))
    elif walk.wrong or walk.misplaced:
        seen.faults = [
            Fault(name, f"{w.what} is not what the index says", w.key, w.start, w.end) for w in walk.wrong
        ]
        seen.faults += walk.as_faults(name)
    seen.damaged = {region.key for region in walk.wrong if region.clip}
    return seen


class _Walk:
    """One way through a tar from its first byte to its last; all bytes are hashed on it."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self._file = file
        self._peeked = b""
        self.digest = hashlib.sha256()
        self.place = 0
        self.wrong: list[Region] = []
        self.further: list[Region] = []
        self.patches: dict[int, bytes] = {}
        self.misplaced: list[tuple[int, int, str]] = []
        self.cut_in: Region | None = None
        self.expected_end = 0

    def all_rows(self, rows: Sequence[Placed]) -> None:
        """Walk past every clip, and past the blocks that end a tar."""
        for row in rows:
            self._strangers(row.offset - BLOCK_BYTES)
            self._all(mp4_regions(row))
            self._further(row.clip.key)
            self._all(json_regions(row, self.place))
            self._further(row.clip.key)
        size = tar_bytes(self.place) - self.place
        self.expected_end = self.place + size
        self._all([Region("end of the tar", "", self.place, size, bytes(size))])

    def to_the_end(self) -> None:
        """Hash what is left, and see how much it is."""
        while chunk := self._take(_CHUNK_BYTES):
            self.digest.update(chunk)

    def as_faults(self, name: str) -> Iterator[Fault]:
        """What lies where nothing should, or does not lie where something should."""
        for start, end, what in self.misplaced:
            yield Fault(name, what, None, start, end)

    def _all(self, regions: Iterable[Region]) -> None:
        for region in regions:
            if self.cut_in is None:
                self._one(region)

    def _one(self, region: Region) -> None:
        left, crc, same = region.size, 0, True
        while left:
            chunk = self._take(min(left, _CHUNK_BYTES))
            if not chunk:
                self.cut_in = region
                return
            if region.data is None:
                crc = zlib.crc32(chunk, crc)
            else:
                done = region.size - left
                same &= region.data[done : done + len(chunk)] == chunk
            self.digest.update(chunk)
            left -= len(chunk)
        if region.clip:
            same = crc == region.clip.crc32
        if not same:
            self.wrong.append(region)
            if region.data is not None:
                self.patches[region.start] = region.data

    def _further(self, key: str) -> None:
        """Walk past members of this clip that the index knows nothing of."""
        while self.cut_in is None and (found := further_member(self._peek(), key)):
            name, size = found
            begin = self.place
            self.digest.update(self._take(BLOCK_BYTES))
            blocks_bytes = -(-size // BLOCK_BYTES) * BLOCK_BYTES
            region = Region(f"payload of {name}", key, begin + BLOCK_BYTES, blocks_bytes)
            if not self._pass(blocks_bytes):
                self.cut_in = region
            self.further.append(region)

    def _strangers(self, until: int) -> None:
        """Walk past what lies before the next member of the index."""
        if self.cut_in is None and until > self.place:
            begin = self.place
            whole = self._pass(until - begin)
            self.misplaced.append((begin, self.place, "holds something that the index does not know"))
            if not whole:
                self.cut_in = Region("what the index does not know", "", begin, until - begin)

    def _pass(self, size: int) -> bool:
        while size:
            chunk = self._take(min(size, _CHUNK_BYTES))
            if not chunk:
                return False
            self.digest.update(chunk)
            size -= len(chunk)
        return True

    def _peek(self) -> bytes:
        self._peeked = self._peeked or self._file.read(BLOCK_BYTES)
        return self._peeked

    def _take(self, size: int) -> bytes:
        taken = self._peeked[:size]
        self._peeked = self._peeked[size:]
        if not taken:
            taken = self._file.read(size)
        self.place += len(taken)
        return taken


def _tell(file: BinaryIO, name: str, walk: _Walk, size_bytes: int, sha256: str) -> Iterator[Fault]:
    """Each difference that is known, as closely as it can be told."""
    for region in walk.wrong:
        if region.data is not None:
            yield _differing(file, name, region, region.data)
    yield from walk.as_faults(name)
    mp4s = [region for region in walk.wrong if region.clip]
    for region in mp4s:
        yield _closer(file, name, region, walk, sha256 if len(mp4s) == 1 and not walk.cut_in else None)
    if walk.cut_in:
        what = f"ends at byte {size_bytes}, within the {walk.cut_in.what}"
        yield Fault(name, what, walk.cut_in.key or None, size_bytes, max(walk.cut_in.end, size_bytes + 1))
    elif size_bytes > walk.expected_end:
        yield Fault(
            name,
            f"goes on for {size_bytes - walk.expected_end} bytes behind its end",
            None,
            walk.expected_end,
            size_bytes,
        )
    elif not mp4s and not _hash_patched(file, walk.patches).startswith(sha256):
        for region in walk.further:
            yield Fault(
                name, f"{region.what} may be damaged: sha256 differs", region.key, region.start, region.end
            )


def _differing(file: BinaryIO, name: str, region: Region, data: bytes) -> Fault:
    found = _read(file, region)
    differ = [place for place, (a, b) in enumerate(zip(found, data, strict=False)) if a != b]
    start, end = region.start + differ[0], region.start + differ[-1] + 1
    if len(differ) == 1:
        what = f"{region.what} is changed: {found[differ[0]]:#04x} should be {data[differ[0]]:#04x}"
    else:
        what = f"{region.what} is changed in {len(differ)} bytes"
    return Fault(name, what, region.key or None, start, end)


def _closer(file: BinaryIO, name: str, region: Region, walk: _Walk, sha256: str | None) -> Fault:
    """Where an mp4 is damaged: the byte, if the tar's hash proves it, else what does not decode."""
    assert region.clip
    if region.size > _LONGEST_SEARCH_BYTES:
        return Fault(name, f"{region.what} is damaged (crc32)", region.key, region.start, region.end)
    data = _read(file, region)
    if sha256:
        candidates = changed_bytes(zlib.crc32(data), region.clip.crc32, len(data))
        for place, pattern in _some(candidates):
            start = region.start + place
            was = data[place] ^ pattern
            patches = {**walk.patches, start: bytes([was])}
            if _hash_patched(file, patches).startswith(sha256):
                at = f"{region.what} is changed in {_frame(region.clip, place)}"
                what = f"{at}: {data[place]:#04x} should be {was:#04x}"
                return Fault(name, what, region.key, start, start + 1)
    what = f"{region.what} is damaged (crc32); {_first_undecodable(region.clip, data)}"
    return Fault(name, what, region.key, region.start, region.end)


def _some(candidates: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """The likeliest first: those of one bit."""
    return sorted(candidates, key=lambda one: one[1].bit_count())[:_MOST_CANDIDATES]


def _frame(clip: Placed, place: int) -> str:
    packet = clip.size - sum(clip.packet_sizes)
    if place < packet:
        return "what stands before its frames"
    for number, size in enumerate(clip.packet_sizes):
        packet += size
        if place < packet:
            return f"frame {number}"
    return "its end"


def _first_undecodable(clip: Placed, data: bytes) -> str:
    packets = data[len(data) - sum(clip.packet_sizes) :]
    try:
        PacketDecoder(clip.extradata).decode(split_packets(packets, clip.packet_sizes))
    except CodecError as error:
        return str(error)
    return "every packet of it decodes"


def _read(file: BinaryIO, region: Region) -> bytes:
    file.seek(region.start)
    return file.read(region.size)


def _hash_patched(file: BinaryIO, patches: dict[int, bytes]) -> str:
    """SHA-256 of the file with these bytes in place of its own."""
    digest = hashlib.sha256()
    file.seek(0)
    place = 0
    for start, data in sorted(patches.items()):
        while place < start:
            chunk = file.read(min(start - place, _CHUNK_BYTES))
            if not chunk:
                return ""
            digest.update(chunk)
            place += len(chunk)
        digest.update(data)
        place = file.seek(len(data), io.SEEK_CUR)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
