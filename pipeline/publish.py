"""Publish: copy the kept clips into shards, and name a version that holds them.

A shard is one task. Its bytes depend on its clips alone and it is named by them, so a shard that
was published before is the same object. The version is written last, and only if it is new.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa

from pipeline.curate import Selection, Shard
from pipeline.engine import Done, Engine
from shards.catalog import write_catalog
from shards.errors import UserError
from shards.index import ClipTarWriter, index_name, read_clip
from shards.manifest import ShardEntry, Version, create_version, list_versions, read_version
from shards.records import Placed
from shards.store import Store, write_parquet

_MIN_DEADLINE_S = 300.0
_SLOWEST_BYTES_PER_S = 1_000_000
_HASH_CHARS = 8


@dataclass(frozen=True)
class ShardUnit:
    """A shard to write."""

    store: str
    shard: Shard


@dataclass(frozen=True)
class Published:
    """A shard that is written, and its index."""

    entry: ShardEntry
    placed: tuple[Placed, ...]


def write_shard(unit: ShardUnit) -> ShardEntry:
    """Copy a shard's clips out of their packs; every clip is checked on the way."""
    store = Store(unit.store)
    with store.stage() as staged:
        with ClipTarWriter(staged.file) as tar:
            for pack, placed in unit.shard.clips:
                tar.append(placed.clip, read_clip(store, pack, placed), placed.gop_frames)
        staged.file.seek(0)
        digest = hashlib.file_digest(staged.file, "sha256").hexdigest()
        name = f"shards/{unit.shard.split}-{unit.shard.number:06d}-{digest[:_HASH_CHARS]}.tar"
        index = io.BytesIO()
        write_parquet(tar.index(), index)
        size_bytes = staged.file.seek(0, io.SEEK_END)
        # The index first: a tar that is there has its index beside it.
        store.create(index_name(name), index.getvalue())
        staged.publish(name, if_absent=True)
    return ShardEntry(
        name=name,
        split=unit.shard.split,
        samples=len(tar.placed),
        bytes=size_bytes,
        sha256=digest,
        index_sha256=hashlib.sha256(index.getvalue()).hexdigest(),
        clips_by_frames=dict(sorted(Counter(p.clip.n_frames for p in tar.placed).items())),
    )


def publish(
    store: Store,
    selection: Selection,
    videos: pa.Table,
    recipe: dict[str, object],
    engine: Engine,
    on_shard: Callable[[int, int], None],
) -> Version:
    """Write the shards of a selection and the version that names them.

    Args:
        videos: the catalog of videos, kept with the version.
        on_shard: is called with the number of shards written and of all.

    Returns:
        The new version, or the newest one if it holds the very same.

    Raises:
        UserError: no clip was kept.
        RuntimeError: a shard could not be written.
    """
    if not selection.shards:
        raise UserError(f"dataset {store.url}: {_nothing_kept(selection.clips)}")
    units = [ShardUnit(store.url, shard) for shard in selection.shards]
    entries: dict[tuple[str, int], ShardEntry] = {}
    for unit, outcome in engine.run(write_shard, units, _deadline_s):
        if not isinstance(outcome, Done):
            raise RuntimeError(f"shard {unit.shard.split}-{unit.shard.number:06d}: {outcome}")
        entries[unit.shard.split, unit.shard.number] = outcome.result
        on_shard(len(entries), len(units))
    shards = tuple(entries[key] for key in sorted(entries))
    newest = read_version(store) if list_versions(store) else None
    version = Version(
        number=newest.number + 1 if newest else 1,
        parent=newest.number if newest else None,
        recipe=recipe,
        shards=shards,
    )
    if newest and newest.same_content(version):
        return newest
    write_catalog(store, version.number, videos, _placed_clips(store, selection.clips, shards))
    if not create_version(store, version):
        taken = read_version(store, version.number)
        if not taken.same_content(version):
            raise UserError(
                f"dataset {store.url}: another run published version {version.number} meanwhile; "
                "run the same command again"
            )
    return read_version(store, version.number)


def _placed_clips(store: Store, clips: pa.Table, shards: Iterable[ShardEntry]) -> pa.Table:
    places = {}
    for shard in shards:
        index = store.read_table(index_name(shard.name), columns=["key", "offset"])
        for key, offset in zip(index["key"].to_pylist(), index["offset"].to_pylist(), strict=True):
            places[key] = (shard.name, offset)
    found = [places.get(key, (None, None)) for key in clips["key"].to_pylist()]
    columns = {
        "shard": pa.array([shard for shard, _ in found], pa.string()),
        "offset": pa.array([offset for _, offset in found], pa.int64()),
    }
    for name, column in columns.items():
        clips = clips.set_column(clips.schema.get_field_index(name), name, column)
    return clips


def _nothing_kept(clips: pa.Table) -> str:
    if not len(clips):
        return "there are no clips to publish; `genieset status` says how the videos ended"
    reasons = Counter(clips["decision"].to_pylist()).most_common()
    told = ", ".join(f"{reason} {count}" for reason, count in reasons)
    return f"no clip was kept ({told}); loosen curate.rules"


def _deadline_s(unit: ShardUnit) -> float:
    size_bytes = sum(placed.size for _, placed in unit.shard.clips)
    return max(_MIN_DEADLINE_S, size_bytes / _SLOWEST_BYTES_PER_S)
