"""Forget videos: take them out of everything that a dataset holds, and see to it that they stay out.

First a receipt is begun that says what will be touched. Then come the tombstones, which builds obey; the
version that follows the newest; the withdrawal of every version that held a clip of the videos, oldest
first, so that the newest that can be read is whole at any moment; and last everything that holds or names
them. What is to be done is always found by looking at what is there. So a run that is killed is gone on
with by the next one, whatever that is asked to forget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from pipeline.progress import Progress
from pipeline.successor import publish_successor
from shards.catalog import CATALOG_NAME
from shards.errors import UserError
from shards.export.write import exports_of
from shards.index import index_name, read_index
from shards.manifest import list_versions, read_version, version_name
from shards.mentions import Mentions, known_ids
from shards.purge import find_foreign, find_mentions, holding_tars, purge_object
from shards.receipt import (
    Receipt,
    Touched,
    begin_receipt,
    hash_object,
    read_receipts,
    readable_digests,
    write_receipt,
)
from shards.runs import Announcement, announce
from shards.store import Store
from shards.tombstones import create_tombstone, forgotten_ids

PurgeLabels = Callable[[Store, Mentions], None]
FindLabels = Callable[[Store, Mentions], Collection[str]]


FOREIGN = "names what is forgotten, and is not of Genieset's making: delete it, or clean it yourself"
"""What is said of an object that is left alone."""


@dataclass(frozen=True)
class Labels:
    """What knows of the labels: this room does not.

    Attributes:
        find: the objects of their database, if one of the videos is named in it.
        purge: takes the videos out of it.
    """

    find: FindLabels
    purge: PurgeLabels


@dataclass(frozen=True)
class Concerned:
    """What it takes to forget some videos.

    Attributes:
        versions: the numbers of those that will be withdrawn.
        shards: those that hold clips of the videos.
        packs: likewise.
        clips: the keys of the clips.
        objects: all that will be touched, versions and shards and packs among them.
        foreign: what names the videos and will not be touched, since it is not of Genieset's making.
    """

    versions: tuple[int, ...]
    shards: tuple[str, ...]
    packs: tuple[str, ...]
    clips: tuple[str, ...]
    objects: tuple[str, ...]
    foreign: tuple[str, ...]


def unfinished(store: Store) -> list[Receipt]:
    """The receipts of those who were killed at it."""
    return [receipt for receipt in read_receipts(store) if not receipt.done]


def look(store: Store, video_ids: Collection[str], labels: Labels) -> Concerned:
    """What would be touched; nothing is.

    Args:
        video_ids: of which there is at least one.
    """
    mentions = Mentions(video_ids, known_ids(store))
    shards = holding_tars(store, "shards", mentions.video_ids)
    packs = holding_tars(store, "packs", mentions.video_ids)
    found = find_mentions(store, mentions, shards, packs)
    versions = _versions_with(store, shards)
    exports = [name for number in versions for name in exports_of(store, number)]
    objects = [*map(version_name, versions), *found, *exports, *labels.find(store, mentions)]
    return Concerned(
        versions=tuple(versions),
        shards=tuple(shards),
        packs=tuple(packs),
        clips=tuple(sorted({key for tar in (*shards, *packs) for key, _ in _clips(store, tar, mentions)})),
        objects=tuple(dict.fromkeys(objects)),
        foreign=tuple(find_foreign(store, mentions)),
    )


def forget(
    store: Store, video_ids: Collection[str], labels: Labels, progress: Progress
) -> tuple[Receipt, ...]:
    """Forget videos, after whatever an earlier run that was killed has left to do.

    Returns:
        The receipts of what was done; none if nothing was left of these videos.

    Raises:
        UserError: a build, a garbage collection or another one of this is at work on the dataset; or what
            has to be written anew is damaged.
    """
    done: list[Receipt] = []
    with announce(store, "forget") as run:
        done += [_finish(store, begun, labels, progress, run) for begun in unfinished(store)]
        gone = {video_id for receipt in done for video_id in receipt.video_ids}
        if left := sorted(set(video_ids) - gone):
            concerned = look(store, left, labels)
            for name in concerned.foreign:
                progress.note(f"{store.where(name)}: {FOREIGN}")
            if concerned.objects or not forgotten_ids(store).issuperset(left):
                receipt = _begin(store, left, concerned)
                done.append(_finish(store, receipt, labels, progress, run))
    return tuple(done)


def _begin(store: Store, video_ids: Collection[str], concerned: Concerned) -> Receipt:
    mentions = Mentions(video_ids)
    packets: set[str] = set()
    for tar in (*concerned.packs, *concerned.shards):
        packets |= readable_digests(mp4 for _, mp4 in _clips(store, tar, mentions, read=True))
    return begin_receipt(store, video_ids, concerned.versions, concerned.objects, packets)


def _finish(store: Store, receipt: Receipt, labels: Labels, progress: Progress, run: Announcement) -> Receipt:
    mentions = Mentions(receipt.video_ids, known_ids(store))
    for video_id in receipt.video_ids:
        create_tombstone(store, video_id)
    held = holding_tars(store, "shards", mentions.video_ids)
    successor = publish_successor(store, mentions, held)
    for number in _versions_with(store, held):
        store.remove(version_name(number))
    if receipt.withdrawn:
        store.settle("versions")
    exports = [name for number in receipt.withdrawn for name in exports_of(store, number)]
    packs = holding_tars(store, "packs", mentions.video_ids)
    found = [*exports, *find_mentions(store, mentions, held, packs)]
    for number, name in enumerate(found, 1):
        folder = name.rpartition("/")[0]
        purge_object(store, name, mentions)
        if number == len(found) or found[number].rpartition("/")[0] != folder:
            # That a commit is gone outlives a power cut before its pack goes.
            store.settle(folder)
        run.beat()
        progress.step("forget", number, len(found), folder)
    labels.purge(store, mentions)
    follows = successor.number if successor else _successor_of(store, receipt)
    objects = tuple(_objects(store, receipt, follows, found))
    done = replace(receipt, done=True, successor=follows, objects=objects)
    write_receipt(store, done)
    return done


def _versions_with(store: Store, shards: Collection[str]) -> list[int]:
    """The versions that name one of these shards, oldest first."""
    return [
        number
        for number in list_versions(store)
        if not {entry.name for entry in read_version(store, number).shards}.isdisjoint(shards)
    ]


def _clips(store: Store, tar: str, mentions: Mentions, *, read: bool = False) -> Iterator[tuple[str, bytes]]:
    """Key and, if it is to be read, mp4 of each clip of these videos in a tar, as far as it can be read."""
    try:
        for placed in read_index(store, tar):
            if placed.clip.video_id in mentions.video_ids:
                mp4 = store.read_range(tar, placed.offset, placed.size) if read else b""
                yield placed.clip.key, mp4
    except (FileNotFoundError, UserError):
        return


def _successor_of(store: Store, receipt: Receipt) -> int | None:
    """The successor that a run before this one published."""
    for number in list_versions(store):
        if number > max(receipt.withdrawn, default=number) and (
            read_version(store, number).parent in receipt.withdrawn
        ):
            return number
    return None


def _objects(store: Store, begun: Receipt, successor: int | None, found: Iterable[str]) -> Iterator[Touched]:
    """What was there before, and then what was made, each with its hash now."""
    before = {touched.name: touched.before for touched in begun.objects}
    names = [*before, *(name for name in found if name not in before)]
    for name in names:
        yield Touched(name, before.get(name), hash_object(store, name))
    for name in _made(store, begun, successor):
        if name not in before:
            yield Touched(name, None, hash_object(store, name))


def _made(store: Store, begun: Receipt, successor: int | None) -> Iterator[str]:
    """The successor with its catalogs and those of its shards that are new, and other versions' catalogs."""
    stems = {_stem(touched.name) for touched in begun.objects}
    if successor is not None:
        version = read_version(store, successor)
        yield version.name
        stems |= {f"catalog/{kind}/{successor:06d}-{version.hash[:8]}" for kind in ("videos", "clips")}
        for entry in version.shards:
            if _stem(entry.name) in stems:
                yield from (entry.name, index_name(entry.name))
    for kind in ("videos", "clips"):
        for name in store.list(f"catalog/{kind}"):
            if CATALOG_NAME.fullmatch(name) and _stem(name) in stems:
                yield name


def _stem(name: str) -> str:
    """A name without the hash of the content at its end."""
    return name.rpartition("-")[0]
