"""The records that every part of Genieset hands on: a video, a clip, and where a clip lies."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa


class ContentBox(NamedTuple):
    """Where the source's picture lies in a clip's frame, in pixels; the rest is padding."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Video:
    """What is known of a source video; `None` is "the site did not say"."""

    video_id: str
    source: str
    url: str
    title: str | None = None
    description: str | None = None
    channel: str | None = None
    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    codec: str | None = None
    licence: str | None = None
    uploaded_at: str | None = None
    found_at: tuple[str, ...] = field(default=())

    def as_row(self) -> dict[str, Any]:
        """A row of `VIDEO_SCHEMA` (less state and detail, which the ledger knows)."""
        return vars(self) | {"found_at": list(self.found_at)}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Video:
        """The inverse of `as_row`; columns that are not a video's are left out."""
        known = {name: row[name] for name in cls.__dataclass_fields__ if name in row}
        return cls(**known | {"found_at": tuple(row.get("found_at") or ())})


@dataclass(frozen=True)
class Clip:
    """One measured clip: its identity and its geometry. Scores are stored apart from it."""

    key: str
    video_id: str
    start_s: float
    n_frames: int
    unique_frames: int
    fps: float
    content_box: ContentBox

    def as_json(self) -> dict[str, Any]:
        """What a reader of a shard finds in `<key>.json`."""
        return asdict(self) | {"content_box": list(self.content_box)}


@dataclass(frozen=True)
class Placed:
    """A clip and the bytes that hold it inside a tar.

    The frames of a clip lie one behind the other at the end of its mp4, so the offset of frame `i`
    is `offset + size - sum(packet_sizes[i:])`. `gop_crc32` holds the CRC-32 of the packets of each group of
    `gop_frames` frames (the last may be shorter), so that one group can be read alone and still be checked.
    """

    clip: Clip
    offset: int
    size: int
    packet_sizes: tuple[int, ...]
    gop_frames: int
    extradata: bytes
    crc32: int
    gop_crc32: tuple[int, ...]

    def as_row(self) -> dict[str, Any]:
        """A row of `INDEX_SCHEMA`."""
        place = {name: getattr(self, name) for name in _PLACE}
        return self.clip.as_json() | place | {name: list(place[name]) for name in _LISTS}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Placed:
        """The inverse of `as_row`."""
        clip = {name: row[name] for name in Clip.__dataclass_fields__}
        place: dict[str, Any] = {name: row[name] for name in _PLACE}
        place |= {name: tuple(row[name]) for name in _LISTS}
        return cls(
            clip=Clip(**clip | {"content_box": ContentBox(*row["content_box"])}),
            **place,
        )


_PLACE = ("offset", "size", "packet_sizes", "gop_frames", "extradata", "crc32", "gop_crc32")
_LISTS = ("packet_sizes", "gop_crc32")

_CLIP_FIELDS = [
    pa.field("key", pa.string(), nullable=False),
    pa.field("video_id", pa.string(), nullable=False),
    pa.field("start_s", pa.float64(), nullable=False),
    pa.field("n_frames", pa.int32(), nullable=False),
    pa.field("unique_frames", pa.int32(), nullable=False),
    pa.field("fps", pa.float64(), nullable=False),
    pa.field("content_box", pa.list_(pa.int32(), 4), nullable=False),
]

INDEX_SCHEMA = pa.schema(
    [
        *_CLIP_FIELDS,
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("packet_sizes", pa.list_(pa.int32()), nullable=False),
        pa.field("gop_frames", pa.int32(), nullable=False),
        # Dictionary pages hold each distinct value once, however many clips share it.
        pa.field("extradata", pa.binary(), nullable=False),
        pa.field("crc32", pa.uint32(), nullable=False),
        pa.field("gop_crc32", pa.list_(pa.uint32()), nullable=False),
    ]
)
"""A row for each clip of a pack or shard, in the order of the tar."""

VIDEO_SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("description", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("duration_s", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("fps", pa.float64()),
        pa.field("codec", pa.string()),
        pa.field("licence", pa.string()),
        pa.field("uploaded_at", pa.string()),
        pa.field("found_at", pa.list_(pa.string()), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
    ]
)
"""A row for each discovered video: where it was found and how it ended."""

CANDIDATE_SCHEMA = pa.schema([field for field in VIDEO_SCHEMA if field.name not in ("state", "detail")])
"""A row for each discovered video before anything was done with it."""

CLIP_SCHEMA = pa.schema(
    [
        *_CLIP_FIELDS,
        pa.field("decision", pa.string(), nullable=False),
        # Of a clip that a near-duplicate is kept for: the key of that one.
        pa.field("duplicate_of", pa.string()),
        pa.field("split", pa.string()),
        pa.field("shard", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64(), nullable=False),
    ]
)
"""The fixed columns of the clip catalog; a column for each score that was used stands beside them."""
