"""What a tar says of itself: its members, and the index that they would have."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from shards.checks.faults import Fault
from shards.checks.layout import BLOCK_BYTES
from shards.codec import GOP_FRAMES, probe_clip
from shards.index import gop_checksums
from shards.records import Clip, ContentBox, Placed
from shards.tar import Member, header_bytes

_LONGEST_MEMBER_BYTES = 64_000_000


def plain_members(file: BinaryIO) -> Iterator[Member]:
    """The members of a tar in their order, from their headers alone; nothing else is read.

    Raises:
        ValueError: a header is none that `TarWriter` writes.
    """
    place = 0
    while any(block := _at(file, place, BLOCK_BYTES)):
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ValueError(f"no header at byte {place}: {error}") from None
        key, _, suffix = header.name.partition(".")
        if header.size < 0 or block != header_bytes(key, suffix, header.size):
            raise ValueError(f"the header at byte {place} has another time, owner, mode or kind than ours")
        yield Member(key, suffix, place + BLOCK_BYTES, header.size)
        place += BLOCK_BYTES + -(-header.size // BLOCK_BYTES) * BLOCK_BYTES


def check_order(file: BinaryIO, name: str, rows: Sequence[Placed]) -> Iterator[Fault]:
    """Whether the members of a sample stand together, and the samples are those of the index in its order."""
    seen: dict[str, int] = {}
    last = None
    try:
        for member in plain_members(file):
            header = member.offset - BLOCK_BYTES
            if member.key != last and member.key in seen:
                yield Fault(name, "members of one sample are not adjacent", member.key, header, member.offset)
            seen.setdefault(member.key, header)
            last = member.key
    except ValueError as error:
        yield Fault(name, str(error))
        return
    keys = [row.clip.key for row in rows]
    if list(seen) != keys:
        for key in [key for key in seen if key not in set(keys)][:3]:
            yield Fault(name, "the index has no such sample", key, seen[key], seen[key] + BLOCK_BYTES)
        for key in [key for key in keys if key not in seen][:3]:
            yield Fault(name, "lacks this sample of the index", key)
        yield Fault(name, "the samples of the tar are not those of its index, in its order")


def rows_of_tar(file: BinaryIO, gop_frames: dict[str, int]) -> list[Placed]:
    """The index that a tar of clips would have.

    Args:
        gop_frames: of a clip, which a tar does not tell; those that are not in it have `codec.GOP_FRAMES`.

    Raises:
        ValueError: the tar is not one of ours.
    """
    mp4: Member | None = None
    rows = []
    for member in plain_members(file):
        if member.suffix == "mp4":
            mp4 = member
        elif member.suffix == "json" and mp4 and mp4.key == member.key:
            clip = _clip(_whole(file, member))
            data = _whole(file, mp4)
            encoded = probe_clip(data)
            groups = gop_frames.get(clip.key, GOP_FRAMES)
            rows.append(
                Placed(
                    clip=clip,
                    offset=mp4.offset,
                    size=mp4.size,
                    packet_sizes=encoded.packet_sizes,
                    gop_frames=groups,
                    extradata=encoded.extradata,
                    crc32=zlib.crc32(data),
                    gop_crc32=gop_checksums(encoded, groups),
                )
            )
    return rows


def _clip(data: bytes) -> Clip:
    try:
        body = json.loads(data)
        return Clip(**body | {"content_box": ContentBox(*body["content_box"])})
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"a member tells of no clip: {type(error).__name__}") from None


def _whole(file: BinaryIO, member: Member) -> bytes:
    if member.size > _LONGEST_MEMBER_BYTES:
        raise ValueError(f"{member.key}.{member.suffix} has {member.size} bytes")
    return _at(file, member.offset, member.size)


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)
