"""Wide frames: a few larger frames of each clip, as JPEG, in an object beside the clips' pack.

What a clip's 160x90 does not show, text and small faces, is looked at here. They are staged like the
pack is and never published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import UserError
from shards.store import PARQUET_SETTINGS, Store

WIDE_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("jpeg", pa.binary(), nullable=False),
    ]
)
"""A row for each wide frame, clip by clip in the order of the pack."""

# Of pictures there are no two alike, and none is less than another.
_TOLD = ("key", "frame")
WIDE_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {"use_dictionary": list(_TOLD), "write_statistics": list(_TOLD)}
)
"""How the objects are written, besides `PARQUET_SETTINGS`."""

# A group of rows is what is held in memory at a time: about 3 MB.
_CLIPS_A_GROUP = 16


class WideFrame(NamedTuple):
    """One larger frame of a clip.

    Attributes:
        frame: which of the clip's frames it shows, counted from 0.
        jpeg: at most 640 px on a side, square pixels, upright, without padding.
    """

    frame: int
    jpeg: bytes


class WideWriter:
    """Writes the wide frames of a pack, a few clips at a time. Use as a context manager."""

    def __init__(self, file: BinaryIO) -> None:
        self._parquet = pq.ParquetWriter(file, WIDE_SCHEMA, **WIDE_SETTINGS, **PARQUET_SETTINGS)
        self._rows: list[dict[str, str | int | bytes]] = []
        self._clips = 0

    def __enter__(self) -> WideWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._parquet.close()

    def append(self, key: str, frames: tuple[WideFrame, ...]) -> None:
        """Write the frames of one clip."""
        self._rows += [{"key": key, **wide._asdict()} for wide in frames]
        self._clips += 1
        if self._clips % _CLIPS_A_GROUP == 0:
            self._flush()

    def _flush(self) -> None:
        # The frames of a clip are never in two groups.
        if self._rows:
            self._parquet.write_table(pa.Table.from_pylist(self._rows, schema=WIDE_SCHEMA))
            self._rows = []


class WideReader:
    """The wide frames of a pack's clips; a group of clips is held at a time. Use as a context manager.

    Raises:
        FileNotFoundError: none are kept beside this pack.
        UserError: they are damaged.
    """

    def __init__(self, store: Store, pack: str) -> None:
        where = store.where(wide_name(pack))
        with _damaged(where):
            self._parquet = pq.ParquetFile(store.arrow(wide_name(pack)), page_checksum_verification=True)
        self._group_of: dict[str, int] = {}
        for group in range(self._parquet.num_row_groups):
            with _damaged(where):
                keys = self._parquet.read_row_group(group, ["key"], use_threads=False)["key"]
            self._group_of |= dict.fromkeys(keys.to_pylist(), group)
        self._where = where
        self._held: int | None = None
        self._frames: dict[str, list[WideFrame]] = {}

    def __enter__(self) -> WideReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._parquet.close(force=True)

    def frames(self, key: str) -> tuple[WideFrame, ...]:
        """The frames of one clip, in their order; read in the pack's order, each group is read once."""
        group = self._group_of.get(key)
        if group is None:
            return ()
        if group != self._held:
            with _damaged(self._where):
                rows = self._parquet.read_row_group(group, use_threads=False).to_pylist()
            self._held, self._frames = group, {}
            for row in rows:
                self._frames.setdefault(row["key"], []).append(WideFrame(row["frame"], row["jpeg"]))
        return tuple(self._frames[key])


def wide_name(pack: str) -> str:
    """The object with the wide frames of a pack; a pack's own name has no dot but that of `.tar`."""
    return pack.removesuffix(".tar") + ".wide.parquet"


@contextmanager
def _damaged(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{where}: is damaged ({str(error).splitlines()[0]}); bring it back") from error
