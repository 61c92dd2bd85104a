"""The version that follows the newest one when some videos are taken out of it, and of it alone.

It keeps the recipe and the place of every clip that stays, as `pipeline.layout` would: so the next build
finds it to be what it would have published itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pipeline.publish import next_number, placed_clips, shard_place, write_clips
from shards.catalog import CLIPS, VIDEOS, create_catalog, read_catalog
from shards.codec import CodecError, EncodedClip
from shards.errors import UserError
from shards.index import read_clip, read_index
from shards.manifest import ShardEntry, Version, create_version, list_versions, read_version
from shards.mentions import Mentions
from shards.purge import clean_table
from shards.records import Placed
from shards.store import Store


def publish_successor(store: Store, mentions: Mentions, held: Collection[str]) -> Version | None:
    """Publish the newest version without some videos.

    Args:
        held: the shards that hold clips of them; of the others nothing is read but their indexes.

    Returns:
        The new version; None if the newest one holds no clip of theirs, or none of anybody else.

    Raises:
        UserError: a shard that is to be written anew, or the catalog, is missing or damaged.
    """
    if not list_versions(store):
        return None
    newest = read_version(store)
    if not any(entry.name in held for entry in newest.shards):
        return None
    left = (_without(store, entry, mentions) if entry.name in held else entry for entry in newest.shards)
    shards = tuple(entry for entry in left if entry)
    if not shards:
        return None
    version = Version(
        number=next_number(store, newest), parent=newest.number, recipe=newest.recipe, shards=shards
    )
    catalog = {kind: clean_table(rows, mentions) for kind, (_, rows) in read_catalog(store, newest).items()}
    create_catalog(store, version, catalog[VIDEOS], placed_clips(store, catalog[CLIPS], shards))
    if not create_version(store, version):
        raise UserError(
            f"dataset {store.url}: another run published version {version.number} meanwhile; "
            "run the same command again"
        )
    return version


def _without(store: Store, entry: ShardEntry, mentions: Mentions) -> ShardEntry | None:
    """A shard under its number without these videos; None if nothing would be in it."""
    try:
        clips = read_index(store, entry.name)
        if all(placed.clip.video_id in mentions.video_ids for placed in clips):
            return None
        split, number = shard_place(entry.name)
        return write_clips(store, split, number, _others(store, entry.name, clips, mentions))
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


def _others(
    store: Store, tar: str, clips: list[Placed], mentions: Mentions
) -> Iterator[tuple[Placed, EncodedClip]]:
    for placed in clips:
        if placed.clip.video_id not in mentions.video_ids:
            yield placed, read_clip(store, tar, placed)
