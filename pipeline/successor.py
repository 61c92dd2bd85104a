"""The version that follows the newest one when some videos are taken out of it, and of it alone.

It keeps the recipe and the place of every clip that stays, as `pipeline.layout` would, and holds what stays
to the recipe's shares. So the next build finds it to be what it would have published itself, unless it
decides otherwise on clips that were dropped beside those of the videos: as their duplicates, or as too many
of a channel.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import CurateSettings
from pipeline.curate import KEPT, hold_to_shares
from pipeline.progress import Progress
from pipeline.publish import next_number, placed_clips, shard_place, write_clips
from shards.ahead import in_order
from shards.catalog import (
    CLIPS,
    VIDEOS,
    catalog_names,
    create_catalog,
    curated_version,
    read_catalog,
    write_curated,
)
from shards.codec import CodecError, EncodedClip
from shards.errors import SettingError, UserError
from shards.index import index_name, read_clip, read_index
from shards.manifest import (
    SCHEMA,
    ShardEntry,
    Version,
    create_version,
    list_versions,
    read_version,
    version_name,
)
from shards.mentions import Mentions
from shards.purge import clean_table
from shards.records import Placed
from shards.store import Store


def readable_version(store: Store, number: int) -> Version | None:
    """A published version; None if it is damaged.

    Raises:
        UserError: a later release wrote it.
    """
    try:
        return read_version(store, number)
    except UserError:
        if _is_of_a_later_release(store.read(version_name(number))):
            raise
        return None


def publish_successor(
    store: Store,
    mentions: Mentions,
    held: Collection[str],
    progress: Progress,
    before: Callable[[Version, Sequence[str]], None],
) -> Version | None:
    """Publish the newest version that can be read without some videos.

    Args:
        held: the shards that hold clips of them; of the others nothing is read but their indexes, unless
            they lose a clip to a share.
        before: is called just before it is published, with the names of the objects that were made.

    Returns:
        The new version; None if the newest one holds no clip of theirs, or none of anybody else.

    Raises:
        UserError: a shard that is to be written anew, or the catalog, is missing or damaged.
    """
    numbers = list_versions(store)
    versions = (readable_version(store, number) for number in reversed(numbers))
    newest = next((version for version in versions if version), None)
    if newest is None or not any(entry.name in held for entry in newest.shards):
        return None
    catalog = {kind: clean_table(rows, mentions) for kind, (_, rows) in read_catalog(store, newest).items()}
    clips, over = _held_to_shares(store, catalog[CLIPS], catalog[VIDEOS], newest.recipe, progress)
    touched = {*held, *over["shard"].to_pylist()}
    dropped = frozenset(over["key"].to_pylist())
    left = (
        _without(store, entry, mentions, dropped) if entry.name in touched else entry
        for entry in newest.shards
    )
    shards = tuple(entry for entry in left if entry)
    if not shards:
        return None
    version = Version(
        number=max(next_number(store, newest), numbers[-1] + 1),
        parent=newest.number,
        recipe=newest.recipe,
        shards=shards,
    )
    create_catalog(store, version, catalog[VIDEOS], placed_clips(store, clips, shards))
    if dropped and newest.number == numbers[-1] and curated_version(store) == newest:
        # What was decided last is what is published, still.
        write_curated(store, catalog[VIDEOS], _nowhere(clips))
    before(version, list(_made(store, version, newest)))
    if not create_version(store, version):
        raise UserError(
            f"dataset {store.url}: another run published version {version.number} meanwhile; "
            "run the same command again"
        )
    return version


def _held_to_shares(
    store: Store, clips: pa.Table, videos: pa.Table, recipe: Mapping[str, Any], progress: Progress
) -> tuple[pa.Table, pa.Table]:
    """The catalog of clips with those dropped that are over a share by now; and the rows of these before."""
    told = {name: value for name, value in recipe.get("curate", {}).items() if name in ("max_share", "seed")}
    try:
        decided = hold_to_shares(clips, videos, CurateSettings.model_validate(told))
    except SettingError as error:
        progress.note(f"dataset {store.url}: {error}; until then the version that follows is over its shares")
        return clips, clips.slice(0, 0)
    lost = pc.and_(pc.equal(clips["decision"], KEPT), pc.not_equal(decided["decision"], KEPT))
    place = decided.schema.get_field_index("split")
    split = pc.if_else(lost, None, decided["split"])
    return decided.set_column(place, decided.schema.field(place), split), clips.filter(lost)


def _made(store: Store, version: Version, newest: Version) -> Iterator[str]:
    """The version with its catalogs, and the shards that it does not share with the one before."""
    yield version.name
    for kind in (VIDEOS, CLIPS):
        yield from catalog_names(store, kind, version)
    shared = {entry.name for entry in newest.shards}
    for entry in version.shards:
        if entry.name not in shared:
            yield from (entry.name, index_name(entry.name))


def _nowhere(clips: pa.Table) -> pa.Table:
    for name in ("shard", "offset"):
        place = clips.schema.get_field_index(name)
        field = clips.schema.field(place)
        clips = clips.set_column(place, field, pa.nulls(len(clips), field.type))
    return clips


def _is_of_a_later_release(data: bytes) -> bool:
    try:
        schema = json.loads(data)["schema"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(schema, int) and schema > SCHEMA


def _without(
    store: Store, entry: ShardEntry, mentions: Mentions, dropped: Collection[str]
) -> ShardEntry | None:
    """A shard under its number without these videos and clips; None if nothing would be in it."""
    try:
        stay = [
            placed
            for placed in read_index(store, entry.name)
            if placed.clip.video_id not in mentions.video_ids and placed.clip.key not in dropped
        ]
        if not stay:
            return None
        split, number = shard_place(entry.name)
        return write_clips(store, split, number, _read(store, entry.name, stay))
    except FileNotFoundError as error:
        raise UserError(
            f"{store.where(entry.name)}: it or its index is missing; bring it back, or `genieset build` "
            "writes it again, without what is being forgotten"
        ) from error
    except CodecError as error:
        raise UserError(
            f"dataset {store.url}: {error}; bring it back, or remove it, and `genieset build` writes it "
            "again, without what is being forgotten"
        ) from error


def _read(store: Store, tar: str, clips: Sequence[Placed]) -> Iterator[tuple[Placed, EncodedClip]]:
    def read(placed: Placed) -> tuple[Placed, EncodedClip]:
        return placed, read_clip(store, tar, placed)

    return in_order(store, read, clips, lambda placed: placed.size)
