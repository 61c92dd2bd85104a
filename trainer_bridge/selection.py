"""Which clips of a version a stream is made of, where not all are wanted: those an SQL predicate holds for.

The predicate is asked of the catalog that was published with the version, so the same version and
the same predicate select the same clips for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.catalog import CLIPS, read_catalog
from shards.errors import UserError
from shards.manifest import ShardEntry, Version
from shards.query import numbers_where
from shards.store import Store
from trainer_bridge.order import IntArray

_NUMBER = "clip_number"


@dataclass(frozen=True)
class Selection:
    """The clips selected of some shards.

    Attributes:
        rows: for each shard the places of its clips in its index, ascending: int64 `[n]`.
        clips_by_frames: for each shard how many of them there are of each number of frames.
    """

    rows: tuple[IntArray, ...]
    clips_by_frames: tuple[dict[int, int], ...]

    @property
    def hash(self) -> str:
        """SHA-256 of which clips of which shards these are."""
        digest = hashlib.sha256()
        for rows in self.rows:
            digest.update(len(rows).to_bytes(8, "little") + rows.astype("<i8").tobytes())
        return digest.hexdigest()


def select(store: Store, version: Version, shards: Sequence[ShardEntry], where: str) -> Selection:
    """The clips of shards that a predicate on the columns of the version's `clips` holds for.

    Raises:
        UserError: the catalog is missing or damaged, the predicate is none, or does not say the same
            of a clip each time it is asked.
    """
    _, clips = read_catalog(store, version)[CLIPS]
    names = pa.array([shard.name for shard in shards], pa.string())
    of_shard = pc.index_in(clips["shard"], value_set=names)
    clips = clips.append_column("shard_number", of_shard).filter(pc.is_valid(of_shard))
    clips = clips.sort_by([("shard_number", "ascending"), ("offset", "ascending")])
    numbers = clips["shard_number"].to_numpy().astype(np.int64)
    bounds = np.searchsorted(numbers, np.arange(len(shards) + 1))
    if np.diff(bounds).tolist() != [shard.samples for shard in shards]:
        raise UserError(
            f"dataset {store.url}: the catalog of {version.name} has other clips than its shards; "
            "`genieset verify` tells what is wrong"
        )
    asked = clips.drop_columns(["shard_number"]).append_column(_NUMBER, pa.array(np.arange(len(clips))))
    try:
        found, again = (np.sort(numbers_where({CLIPS: asked}, where, _NUMBER)) for _ in range(2))
    except UserError as error:
        raise UserError(f"where: {error}") from None
    if not np.array_equal(found, again):
        raise UserError(
            f"where: {where!r} selects other clips each time it is asked; leave out what is random"
        )
    n_frames = clips["n_frames"].to_numpy()
    parts = np.split(found, np.searchsorted(found, bounds[1:-1]))
    return Selection(
        rows=tuple(part - first for part, first in zip(parts, bounds.tolist(), strict=False)),
        clips_by_frames=tuple(_counted(n_frames[part]) for part in parts),
    )


def _counted(values: np.ndarray[tuple[int], np.dtype[np.int32]]) -> dict[int, int]:
    frames, counts = np.unique(values, return_counts=True)
    return dict(zip(frames.tolist(), counts.tolist(), strict=True))
