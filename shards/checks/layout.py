"""What a tar must hold byte for byte, from its index alone."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shards.index import clip_json
from shards.records import Placed
from shards.tar import header_bytes

BLOCK_BYTES = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Region:
    """A stretch of a tar that has one meaning.

    Attributes:
        what: "header of <member>", "payload of <member>", "padding of <member>".
        key: of the clip that it belongs to.
        start: its first byte.
        size: how many bytes it has.
        data: what they are; None for an mp4, of which the index knows the CRC-32.
        clip: of an mp4: its row of the index.
    """

    what: str
    key: str
    start: int
    size: int
    data: bytes | None = None
    clip: Placed | None = None

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.size


def mp4_regions(clip: Placed) -> Iterator[Region]:
    """Header, payload and padding of a clip's mp4."""
    key, name = clip.clip.key, f"{clip.clip.key}.mp4"
    start = clip.offset - BLOCK_BYTES
    yield Region(f"header of {name}", key, start, BLOCK_BYTES, header_bytes(key, "mp4", clip.size))
    yield Region(f"payload of {name}", key, clip.offset, clip.size, clip=clip)
    yield from _padding(name, key, clip.offset + clip.size)


def json_regions(clip: Placed, start: int) -> Iterator[Region]:
    """Header, payload and padding of a clip's json member, which begins at `start`."""
    key, name, data = clip.clip.key, f"{clip.clip.key}.json", clip_json(clip.clip)
    yield Region(f"header of {name}", key, start, BLOCK_BYTES, header_bytes(key, "json", len(data)))
    yield Region(f"payload of {name}", key, start + BLOCK_BYTES, len(data), data)
    yield from _padding(name, key, start + BLOCK_BYTES + len(data))


def further_member(block: bytes, key: str) -> tuple[str, int] | None:
    """Name and size of a further member of this clip whose header this is; None if it is none of ours."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    name, _, suffix = header.name.partition(".")
    if name != key or not suffix or suffix in ("mp4", "json") or header.size < 0:
        return None
    return (header.name, header.size) if block == header_bytes(key, suffix, header.size) else None


def row_problem(rows: Sequence[Placed]) -> Iterator[tuple[int, str]]:
    """Number and problem of each row of an index that no tar can be laid out by."""
    place = 0
    for number, row in enumerate(rows):
        if row.offset % BLOCK_BYTES or row.offset - BLOCK_BYTES < place:
            yield number, f"offset is {row.offset}; that of the next member is a multiple of 512 from {place}"
        elif row.size <= 0 or sum(row.packet_sizes) > row.size or min(row.packet_sizes, default=0) <= 0:
            yield number, f"size is {row.size}, and its packets have {sum(row.packet_sizes)} bytes"
        elif len(row.packet_sizes) != row.clip.n_frames:
            yield number, f"n_frames is {row.clip.n_frames}, and there are {len(row.packet_sizes)} packets"
        place = max(place, row.offset + row.size)


def _padding(name: str, key: str, start: int) -> Iterator[Region]:
    size = -start % BLOCK_BYTES
    if size:
        yield Region(f"padding of {name}", key, start, size, bytes(size))
