"""Publish: copy the kept clips into shards, and name a version that holds them.

A shard is one task. Its bytes depend on its clips alone and it is named by them, so a shard that
was published before is the same object. The version is written last, and only if it is new.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pyarrow as pa

from pipeline.curate import Selection, Shard
from pipeline.engine import Done, Engine, Part, Refused, run_through_losses
from shards.catalog import create_catalog
from shards.errors import UserError
from shards.index import ClipTarWriter, index_name, read_clip, read_index
from shards.manifest import ShardEntry, Version, create_version, list_versions, read_version
from shards.store import Store, write_parquet

_MIN_DEADLINE_S = 300.0
_SLOWEST_BYTES_PER_S = 1_000_000
_HASH_CHARS = 8


@dataclass(frozen=True)
class ShardUnit:
    """A shard to write."""

    store: str
    shard: Shard


def write_shard(unit: ShardUnit) -> ShardEntry:
    """Copy a shard's clips out of their packs; every clip is checked on the way."""
    store = Store(unit.store)
    with store.stage() as staged:
        with ClipTarWriter(staged.file) as tar:
            for pack, placed in unit.shard.clips:
                tar.append(placed.clip, read_clip(store, pack, placed), placed.gop_frames)
        staged.file.seek(0)
        digest = hashlib.file_digest(staged.file, "sha256").hexdigest()
        name = f"{_stem(unit.shard)}{digest[:_HASH_CHARS]}.tar"
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
        on_shard: is called after each shard that had to be written, with the number of those that are
            there and of all.

    Returns:
        The new version, or the newest one if it holds the very same.

    Raises:
        UserError: no clip was kept.
        RuntimeError: a shard could not be written.
    """
    if not selection.shards:
        raise UserError(f"dataset {store.url}: {_nothing_kept(selection.clips)}")
    entries = _published(store, selection.shards)
    units = [ShardUnit(store.everywhere, shard) for shard in selection.shards if _place(shard) not in entries]
    written = run_through_losses(engine, write_shard, units, lambda unit: Part(_deadline_s(unit)))
    for unit, outcome in written:
        if isinstance(outcome, Refused):
            raise UserError(outcome.message)
        if not isinstance(outcome, Done):
            raise RuntimeError(f"shard {unit.shard.split}-{unit.shard.number:06d}: {outcome}")
        entries[_place(unit.shard)] = outcome.result
        on_shard(len(entries), len(selection.shards))
    shards = tuple(entries[key] for key in sorted(entries))
    newest = _newest(store)
    version = Version(
        number=newest.number + 1 if newest else 1,
        parent=newest.number if newest else None,
        recipe=recipe,
        shards=shards,
    )
    if newest and newest.same_content(version):
        return newest
    # Before the version, which is complete from the instant that it can be read.
    create_catalog(store, version, videos, _placed_clips(store, selection.clips, shards))
    if not create_version(store, version):
        taken = read_version(store, version.number)
        if not taken.same_content(version):
            raise UserError(
                f"dataset {store.url}: another run published version {version.number} meanwhile; "
                "run the same command again"
            )
    return read_version(store, version.number)


def _newest(store: Store) -> Version | None:
    return read_version(store) if list_versions(store) else None


def _published(store: Store, shards: Iterable[Shard]) -> dict[tuple[str, int], ShardEntry]:
    """Those of the shards that the newest version has already."""
    newest = _newest(store)
    there = {f"{entry.name.rpartition('-')[0]}-": entry for entry in newest.shards} if newest else {}
    return {
        _place(shard): there[_stem(shard)]
        for shard in shards
        if _stem(shard) in there and _holds(store, there[_stem(shard)], shard)
    }


def _holds(store: Store, entry: ShardEntry, shard: Shard) -> bool:
    """Whether the objects of a published shard are there, with these clips in this order."""
    index = index_name(entry.name)
    if not store.exists(entry.name) or store.size_bytes(entry.name) != entry.bytes:
        return False
    if not store.exists(index) or hashlib.sha256(store.read(index)).hexdigest() != entry.index_sha256:
        return False
    told = [replace(placed, offset=0) for placed in read_index(store, entry.name)]
    return told == [replace(placed, offset=0) for _, placed in shard.clips]


def _place(shard: Shard) -> tuple[str, int]:
    return shard.split, shard.number


def _stem(shard: Shard) -> str:
    return f"shards/{shard.split}-{shard.number:06d}-"


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
