"""Publish: copy the kept clips into shards, and name a version that holds them.

A shard is one task. Its bytes depend on its clips alone and it is named by them, so a shard that
was published before is the same object, and one that loses nothing is not written again. The version is
written last, and only if it is new.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.curate import KEPT, Selection, count_decisions
from pipeline.engine import Done, Engine, Expired, Part, Refused, run_through_losses
from pipeline.layout import Clips, Held, Shard, lay_out
from pipeline.parent import read_parent
from shards.ahead import in_order
from shards.catalog import create_catalog
from shards.codec import EncodedClip
from shards.errors import UserError
from shards.index import (
    ClipTarWriter,
    contents,
    index_name,
    read_clip,
    read_index_rows,
    read_indexes,
    sample_bytes,
)
from shards.manifest import ShardEntry, Version, create_version, list_versions, read_version
from shards.names import HASH_CHARS
from shards.receipt import read_receipts, withdrawn_versions
from shards.records import Placed
from shards.store import Staged, Store, write_parquet

_MIN_DEADLINE_S = 300.0
_SLOWEST_BYTES_PER_S = 1_000_000
_SLOWEST_READS_PER_S = 4


@dataclass(frozen=True)
class ShardUnit:
    """A shard to write.

    Attributes:
        packs: for each of its clips in order, the pack it lies in.
        rows: and its place in the pack.
        size_bytes: of all its clips.
    """

    store: str
    split: str
    number: int
    packs: tuple[str, ...]
    rows: tuple[int, ...]
    size_bytes: int

    @property
    def stem(self) -> str:
        """The shard's name, as far as its content does not decide it."""
        return shard_stem(self.split, self.number)


def write_shard(unit: ShardUnit) -> ShardEntry:
    """Copy a shard's clips out of their packs; every clip is checked on the way."""
    store = Store(unit.store)
    return write_clips(store, unit.split, unit.number, _clips_of(store, unit))


def write_clips(
    store: Store, split: str, number: int, clips: Iterable[tuple[Placed, EncodedClip]]
) -> ShardEntry:
    """Write clips as one shard, and its index, under the name that their bytes give them."""
    with store.stage() as staged:
        with ClipTarWriter(staged.file) as tar:
            for placed, encoded in clips:
                tar.append(placed.clip, encoded, placed.gop_frames)
        staged.file.seek(0)
        digest = hashlib.file_digest(staged.file, "sha256").hexdigest()
        name = f"{shard_stem(split, number)}{digest[:HASH_CHARS]}.tar"
        index = io.BytesIO()
        write_parquet(tar.index(), index)
        size_bytes = staged.file.seek(0, io.SEEK_END)
        _name(store, staged, name, index.getvalue(), digest, size_bytes)
    return ShardEntry(
        name=name,
        split=split,
        samples=len(tar.placed),
        bytes=size_bytes,
        sha256=digest,
        index_sha256=hashlib.sha256(index.getvalue()).hexdigest(),
        clips_by_frames=dict(sorted(Counter(p.clip.n_frames for p in tar.placed).items())),
    )


def shard_stem(split: str, number: int) -> str:
    """A shard's name, as far as its content does not decide it."""
    return f"shards/{split}-{number:06d}-"


def shard_place(name: str) -> tuple[str, int]:
    """Split and number of a shard: the inverse of `shard_stem`."""
    split, number, _ = name.removeprefix("shards/").split("-")
    return split, int(number)


def _clips_of(store: Store, unit: ShardUnit) -> Iterator[tuple[Placed, EncodedClip]]:
    """The clips of a shard in order: a read for the index of each pack, and one for each clip."""

    def read(place: tuple[str, Placed]) -> tuple[Placed, EncodedClip]:
        pack, placed = place
        return placed, read_clip(store, pack, placed)

    places = zip(unit.packs, read_index_rows(store, unit.packs, unit.rows), strict=True)
    return in_order(store, read, places, lambda place: place[1].size)


def _name(store: Store, staged: Staged, name: str, index: bytes, digest: str, size_bytes: int) -> None:
    """Give a shard and its index their names; what has one of them already and is damaged is replaced.

    The name is that of these bytes, so that nobody can want others there.
    """
    # The index first: a tar that is there has its index beside it.
    beside = index_name(name)
    if not store.create(beside, index) and not _holds(
        store, beside, len(index), hashlib.sha256(index).hexdigest()
    ):
        store.put(beside, index)
    if not staged.publish(name, if_absent=True) and not _holds(store, name, size_bytes, digest):
        staged.publish(name)


def _holds(store: Store, name: str, size_bytes: int, digest: str) -> bool:
    """Whether an object is there and is these bytes."""
    try:
        if store.size_bytes(name) != size_bytes:
            return False
        with store.open(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        # Whoever had it there took it away, or the disk does not give it back.
        return False


def publish(
    store: Store,
    selection: Selection,
    videos: pa.Table,
    recipe: dict[str, object],
    engine: Engine,
    on_shard: Callable[[int, int], None],
    sure: Callable[[], None],
    *,
    anew: bool = False,
) -> Version:
    """Write the shards of a selection and the version that names them.

    Args:
        videos: the catalog of videos, kept with the version.
        on_shard: is called after each shard that had to be written, with the number of those that are
            there and of all.
        sure: is called before the version is written; what it raises leaves it unwritten.
        anew: keep nothing of the newest version's layout, so that small shards are gathered into full ones.

    Returns:
        The new version, or the newest one if it holds the very same.

    Raises:
        UserError: no clip was kept.
        RuntimeError: a shard could not be written.
    """
    kept = pc.equal(selection.clips["decision"], KEPT)
    clips, sources = selection.clips.filter(kept), selection.sources.filter(kept)
    if not len(clips):
        raise UserError(f"dataset {store.url}: {_nothing_kept(selection.clips)}")
    newest = read_version(store) if list_versions(store) else None
    parent = [
        (entry, Held(*shard_place(entry.name), keys, content), there)
        for entry, keys, content, there in (read_parent(store, newest) if newest else ())
    ]
    shards = lay_out(
        _to_lay_out(clips, sources),
        [held for _, held, _ in parent],
        seed=_layout_settings(recipe)["seed"],
        max_bytes=_layout_settings(recipe)["max_bytes"],
        anew=anew or (newest is not None and _layout_settings(newest.recipe) != _layout_settings(recipe)),
    )
    whole = {(held.split, held.number): entry for entry, held, there in parent if there}
    entries = {
        _place(shard): whole[_place(shard)] for shard in shards if shard.stays and _place(shard) in whole
    }
    units = (_unit(store, shard, clips, sources) for shard in shards if _place(shard) not in entries)
    for unit, outcome in run_through_losses(engine, write_shard, units, lambda unit: Part(_deadline_s(unit))):
        if isinstance(outcome, Refused):
            raise UserError(outcome.message)
        if isinstance(outcome, Expired):
            raise UserError(
                f"dataset {store.url}: {unit.stem}* was not written within {outcome.deadline_s:.0f} s; where "
                "the store is as fast as it should be, lower shards.max_bytes; the same command goes on from "
                "here"
            )
        if not isinstance(outcome, Done):
            raise RuntimeError(f"{unit.stem}*: {outcome}")
        entries[unit.split, unit.number] = outcome.result
        on_shard(len(entries), len(shards))
    version = Version(
        number=next_number(store, newest),
        parent=newest.number if newest else None,
        recipe=recipe,
        shards=tuple(entries[place] for place in sorted(entries)),
    )
    if newest and newest.same_content(version):
        return newest
    # Before the version, which is complete from the instant that it can be read.
    create_catalog(store, version, videos, placed_clips(store, selection.clips, version.shards))
    sure()
    if not create_version(store, version):
        taken = read_version(store, version.number)
        if not taken.same_content(version):
            raise UserError(
                f"dataset {store.url}: another run published version {version.number} meanwhile; "
                "run the same command again"
            )
    return read_version(store, version.number)


def next_number(store: Store, newest: Version | None) -> int:
    """The number of the version after the newest; that of one that was withdrawn is never given again.

    It goes by the version that was read, not by what is there now: what another run publishes meanwhile
    has this number, and is found out by that.
    """
    return 1 + max([newest.number if newest else 0, *withdrawn_versions(read_receipts(store))])


def _layout_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a layout is made by; when one of them differs, it is made anew."""
    curate = recipe.get("curate", {})
    return {
        "seed": curate.get("seed"),
        "splits": curate.get("splits"),
        "max_bytes": recipe.get("shards", {}).get("max_bytes"),
    }


def _to_lay_out(clips: pa.Table, sources: pa.Table) -> Clips:
    rows = clips
    for name in ("gop_frames", "crc32"):
        rows = rows.append_column(name, sources[name])
    return Clips(
        keys=rows["key"].combine_chunks(),
        splits=rows["split"].combine_chunks(),
        sizes_bytes=sample_bytes(rows),
        content=contents(rows),
    )


def _unit(store: Store, shard: Shard, clips: pa.Table, sources: pa.Table) -> ShardUnit:
    rows = pa.array(shard.rows)
    chosen = sources.select(["pack", "row"]).take(rows)
    return ShardUnit(
        store=store.everywhere,
        split=shard.split,
        number=shard.number,
        packs=tuple(chosen["pack"].to_pylist()),
        rows=tuple(chosen["row"].to_pylist()),
        size_bytes=pc.sum(clips["size"].take(rows)).as_py(),
    )


def _place(shard: Shard) -> tuple[str, int]:
    return shard.split, shard.number


def placed_clips(store: Store, clips: pa.Table, shards: Sequence[ShardEntry]) -> pa.Table:
    """The catalog of clips with where each kept one lies."""
    places = read_indexes(store, [shard.name for shard in shards], ["key", "offset"])
    found = pc.index_in(clips["key"], value_set=places["key"].combine_chunks()).combine_chunks()
    names = pa.array([shard.name for shard in shards], pa.string())
    columns = {
        "shard": names.take(places["object"].combine_chunks()).take(found),
        "offset": places["offset"].combine_chunks().take(found),
    }
    for name, column in columns.items():
        clips = clips.set_column(clips.schema.get_field_index(name), name, column)
    return clips


def _nothing_kept(clips: pa.Table) -> str:
    if not len(clips):
        return "there are no clips to publish; `genieset status` says how the videos ended"
    reasons = sorted(count_decisions(clips).items(), key=lambda reason: -reason[1])
    told = ", ".join(f"{reason} {count}" for reason, count in reasons)
    return f"no clip was kept ({told}); loosen curate.rules"


def _deadline_s(unit: ShardUnit) -> float:
    reads = len(unit.rows) + len(set(unit.packs))
    return max(_MIN_DEADLINE_S, unit.size_bytes / _SLOWEST_BYTES_PER_S + reads / _SLOWEST_READS_PER_S)
