"""Forget videos: take them out of everything that a dataset holds, and see to it that they stay out.

First a receipt is begun that says what will be touched. Then come the tombstones, which builds obey; the
version that follows the newest; the withdrawal of every version that held a clip of the videos, oldest
first, so that the newest that can be read is whole at any moment; and last everything that holds or names
them. What is to be done is always found by looking at what is there. So a run that is killed is gone on
with by the next one, whatever that is asked to forget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.progress import Progress
from pipeline.scratch import clear_scratch
from pipeline.successor import publish_successor, readable_version
from shards.catalog import CATALOG_NAME, CLIPS, VIDEOS
from shards.errors import UserError
from shards.export.write import exports_of
from shards.index import read_index
from shards.manifest import Version, list_versions, version_name
from shards.mentions import Mentions, known_ids
from shards.names import is_ours
from shards.purge import also_packs, find_foreign, find_mentions, holding_tars, purge_object
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
        damaged: those among them that cannot be read, which may hold clips of the videos for all that is
            known, and which nobody can use.
        shards: those that hold clips of the videos.
        packs: likewise.
        clips: the keys of the clips.
        objects: all that will be touched, versions and shards and packs among them.
        foreign: what names the videos and will not be touched, since it is not of Genieset's making.
    """

    versions: tuple[int, ...]
    damaged: tuple[int, ...]
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
    known = known_ids(store)
    mentions = Mentions(video_ids, known)
    shards = holding_tars(store, "shards", mentions.video_ids)
    packs = holding_tars(store, "packs", mentions.video_ids)
    versions, damaged = _versions_with(store, shards)
    found = _to_purge(store, also_packs(mentions, packs, known), shards, packs, versions)
    objects = [*map(version_name, versions), *found, *labels.find(store, mentions)]
    return Concerned(
        versions=tuple(versions),
        damaged=tuple(damaged),
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
            for number in concerned.damaged:
                progress.note(f"{store.where(version_name(number))}: is damaged, and is withdrawn, too")
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
    known = known_ids(store)
    mentions = Mentions(receipt.video_ids, known)
    for video_id in receipt.video_ids:
        create_tombstone(store, video_id)
    held = holding_tars(store, "shards", mentions.video_ids)
    packs = holding_tars(store, "packs", mentions.video_ids)

    def before(version: Version, made: Sequence[str]) -> None:
        nonlocal receipt
        run.check()
        listed = {touched.name for touched in receipt.objects}
        new = (Touched(name, None) for name in made if name not in listed)
        receipt = replace(receipt, successor=version.number, objects=(*receipt.objects, *new))
        write_receipt(store, receipt)

    publish_successor(store, mentions, held, progress, before)
    withdrawn, _ = _versions_with(store, held)
    if not set(withdrawn) <= set(receipt.withdrawn):
        # One that was damaged since: its number shall not be given again either.
        receipt = replace(receipt, withdrawn=tuple(sorted({*withdrawn, *receipt.withdrawn})))
        write_receipt(store, receipt)
    for number in withdrawn:
        store.remove(version_name(number))
    if receipt.withdrawn:
        store.settle("versions")
    everything = also_packs(mentions, packs, known)
    found = _to_purge(store, everything, held, packs, receipt.withdrawn)
    for number, name in enumerate(found, 1):
        folder = name.rpartition("/")[0]
        purge_object(store, name, everything)
        if number == len(found) or found[number].rpartition("/")[0] != folder:
            # That a commit is gone outlives a power cut before its pack goes.
            store.settle(folder)
        progress.step("forget", number, len(found), folder)
    labels.purge(store, mentions)
    clear_scratch(store.everywhere, receipt.video_ids)
    try:
        # Nobody else is at work here: whoever was sending them is dead.
        for upload in store.uploads():
            if is_ours(upload.name):
                store.end_upload(upload)
    except UserError as error:
        progress.note(f"parts of an upload that was killed may be left: {error}")
    done = replace(receipt, done=True, objects=tuple(_objects(store, receipt, found)))
    write_receipt(store, done)
    return done


def _versions_with(store: Store, shards: Collection[str]) -> tuple[list[int], list[int]]:
    """The versions that name one of these shards or may do, oldest first; and those that cannot be read."""
    found: list[int] = []
    damaged: list[int] = []
    for number in list_versions(store) if shards else ():
        version = readable_version(store, number)
        if version is None:
            damaged.append(number)
        if version is None or not {entry.name for entry in version.shards}.isdisjoint(shards):
            found.append(number)
    return found, damaged


def _to_purge(
    store: Store,
    mentions: Mentions,
    shards: Collection[str],
    packs: Collection[str],
    withdrawn: Collection[int],
) -> list[str]:
    """What `purge_object` is to be called with, in that order.

    The exports of a version go first, whether it is withdrawn or only gets another catalog, which they name.
    """
    found = find_mentions(store, mentions, shards, packs)
    catalogs = (CATALOG_NAME.fullmatch(name) for name in found)
    stale = {*withdrawn, *(int(match["number"]) for match in catalogs if match)}
    exports = [name for number in sorted(stale) for name in exports_of(store, number)]
    return list(dict.fromkeys([*exports, *found]))


def _clips(store: Store, tar: str, mentions: Mentions, *, read: bool = False) -> Iterator[tuple[str, bytes]]:
    """Key and, if it is to be read, mp4 of each clip of these videos in a tar, as far as it can be read."""
    try:
        for placed in read_index(store, tar):
            if placed.clip.video_id in mentions.video_ids:
                mp4 = store.read_range(tar, placed.offset, placed.size) if read else b""
                yield placed.clip.key, mp4
    except (FileNotFoundError, UserError):
        return


def _objects(store: Store, begun: Receipt, found: Iterable[str]) -> Iterator[Touched]:
    """What was there before, and then what was made, each with its hash now."""
    before = {touched.name: touched.before for touched in begun.objects}
    renamed = {match["number"] for name in before if (match := CATALOG_NAME.fullmatch(name))}
    catalogs = [
        name
        for kind in (VIDEOS, CLIPS)
        for name in store.list(f"catalog/{kind}")
        if (match := CATALOG_NAME.fullmatch(name)) and match["number"] in renamed
    ]
    for name in dict.fromkeys([*before, *found, *catalogs]):
        yield Touched(name, before.get(name), hash_object(store, name))
