"""The proof that forgotten videos are gone: nothing in the whole dataset names them or shows them.

Every object is looked at, whatever it is and whosever: its name; its bytes, as they lie (databases with
their free pages and their log, too, and what was half written); the texts of its tables, whose pages are
compressed; and of every mp4, in a tar, under any other name or in the midst of something else, the
key-frame packets, against the digests of the receipts. Left out are the tombstones, the receipts, and
`config.json`, which is its user's own. What is compressed (but for Parquet's texts) or in another encoding is
not seen through.

A packet is told by its bytes, whatever it is called. One of less than 256 bytes is not looked for: that is
a picture with nothing in it, which many videos share.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO

from shards.checks.faults import Fault, first_of, guarded
from shards.codec import CodecError
from shards.errors import UserError
from shards.mentions import Mentions, known_ids, read_texts
from shards.names import every_object, is_ours, may_name_forgotten, unseen_links
from shards.receipt import packet_digests, read_receipts
from shards.store import Store
from shards.tar import read_members
from shards.tombstones import forgotten_ids, tombstone_name

_TEXT = "names a forgotten video"
_MARK, _MARK_AT = b"ftyp", 4
"""How an mp4 begins: ISO/IEC 14496-12, 4.3."""
_LARGEST_BOX_BYTES = 4096
_LARGEST_CLIP_BYTES = 32 * 1024 * 1024
_CHUNK_BYTES = 8 * 1024 * 1024
_FOREIGN = "; it is not of Genieset's making: delete it, or clean it yourself"


@dataclass(frozen=True)
class Forgotten:
    """What there shall be nothing left of.

    Attributes:
        video_ids: of which there is at least one.
        packets: digests of their clips' key-frame packets.
        faults: what can be told without looking at objects.
    """

    video_ids: frozenset[str]
    packets: frozenset[str]
    faults: tuple[Fault, ...]


def read_forgotten(store: Store) -> Forgotten:
    """What was forgotten in a dataset.

    Raises:
        UserError: nothing ever was, or a receipt is damaged.
    """
    receipts = read_receipts(store)
    buried = forgotten_ids(store)
    video_ids = buried | {one for receipt in receipts for one in receipt.video_ids}
    if not video_ids:
        raise UserError(f"dataset {store.url}: nothing was forgotten there")
    unfinished = [
        Fault(receipt.name, "was begun and is not done; the same `genieset forget` goes on")
        for receipt in receipts
        if not receipt.done
    ]
    lost = [
        Fault(tombstone_name(one), f"is missing, and {receipt.name} forgot that video; run that forget again")
        for receipt in receipts
        for one in receipt.video_ids
        if one not in buried
    ]
    links = [
        Fault(link, "is a link, and what it leads to was not looked at; put the folder itself there")
        for link in unseen_links(store)
    ]
    packets = frozenset(packet for receipt in receipts for packet in receipt.packets)
    return Forgotten(video_ids, packets, (*unfinished, *lost, *links))


def mentions_of(store: Store, video_ids: Iterable[str]) -> Mentions:
    """What finds these videos and takes no other one that is known for them.

    Where those that are known cannot be read, that is told of when the turn of their objects comes.
    """
    try:
        known = known_ids(store)
    except (UserError, KeyError, OSError, ValueError):
        known = frozenset()
    return Mentions(video_ids, known)


def objects_to_look_at(store: Store) -> list[str]:
    """The objects of which none may name or show a forgotten video."""
    return [name for name in every_object(store) if not may_name_forgotten(name)]


def check_object(store: Store, name: str, mentions: Mentions, packets: Collection[str]) -> list[Fault]:
    """What is left of forgotten videos in one object; nothing that is damaged raises."""
    whose = "" if is_ours(name) else _FOREIGN
    found = first_of(name, guarded(name, _remains(store, name, mentions, packets)))
    return [replace(fault, what=fault.what + whose) for fault in found]


def check_forgotten(store: Store) -> list[Fault]:
    """What is left of forgotten videos, object by object; nothing if they are gone.

    Raises:
        UserError: as `read_forgotten`.
    """
    forgotten = read_forgotten(store)
    mentions = mentions_of(store, forgotten.video_ids)
    faults = list(forgotten.faults)
    for name in objects_to_look_at(store):
        faults += check_object(store, name, mentions, forgotten.packets)
    return faults


def _remains(store: Store, name: str, mentions: Mentions, packets: Collection[str]) -> Iterator[Fault]:
    if mentions.in_text(name):
        yield Fault(name, "is named after a forgotten video")
    with _fetched(store, name) as file:
        for start, end in mentions.in_file(file):
            yield Fault(name, _TEXT, start_byte=start, end_byte=end)
        if packets:
            judged: frozenset[int] = frozenset()
            if name.endswith(".tar"):
                file.seek(0)
                judged = yield from _in_members(name, file, packets)
            file.seek(0)
            yield from _anywhere(name, file, packets, judged)
    if name.endswith(".parquet"):
        yield from _in_rows(store, name, mentions)


@contextmanager
def _fetched(store: Store, name: str) -> Iterator[BinaryIO]:
    """An object to be read; a tar, which is read twice, is fetched from a bucket once."""
    with store.open(name) as file:
        if not (store.is_remote and name.endswith(".tar")):
            yield file
            return
        with tempfile.TemporaryFile(prefix="genieset-") as copy:
            shutil.copyfileobj(file, copy, 8 * 1024 * 1024)
            copy.seek(0)
            yield copy


def _in_rows(store: Store, name: str, mentions: Mentions) -> Iterator[Fault]:
    first = 0
    for part in read_texts(store, name):
        for path, rows in mentions.in_table(part):
            for row in rows.tolist():
                yield Fault(name, _TEXT, f"row {first + row}, column {path}")
        first += len(part)


def _in_members(
    name: str, file: BinaryIO, packets: Collection[str]
) -> Generator[Fault, None, frozenset[int]]:
    """Of the clips in a tar; returns where they begin."""
    try:
        members = [member for member in read_members(file) if member.suffix.endswith("mp4")]
    except tarfile.TarError as error:
        yield Fault(name, f"its clips cannot be compared: {error}")
        return frozenset()
    for member in members:
        file.seek(member.offset)
        told = {"start_byte": member.offset, "end_byte": member.offset + member.size}
        try:
            found = sum(digest in packets for digest in packet_digests(file.read(member.size)))
        except CodecError as error:
            yield Fault(name, f"cannot be compared: {error}", member.key, **told)
            continue
        if found:
            yield Fault(name, f"holds {found} key frames of a forgotten clip", member.key, **told)
    return frozenset(member.offset for member in members)


def _anywhere(
    name: str, file: BinaryIO, packets: Collection[str], judged: Collection[int]
) -> Iterator[Fault]:
    """Of mp4 files under any name, or in the midst of something else; what only looks like one is let pass.

    Args:
        judged: places of which it was told already.
    """
    for start in [place - _MARK_AT for place in _places(file, _MARK)]:
        if start < 0 or start in judged:
            continue
        file.seek(start)
        if not 0 < int.from_bytes(file.read(_MARK_AT)) <= _LARGEST_BOX_BYTES:
            continue  # so much a first box never has
        file.seek(start)
        try:
            found = sum(digest in packets for digest in packet_digests(file.read(_LARGEST_CLIP_BYTES)))
        except CodecError:
            continue
        if found:
            what = f"an mp4 begins there with {found} key frames of a forgotten clip"
            yield Fault(name, what, start_byte=start, end_byte=start + 1)


def _places(file: BinaryIO, mark: bytes) -> Iterator[int]:
    """Where some bytes stand in a file of any size."""
    base, data = 0, b""
    while chunk := file.read(_CHUNK_BYTES):
        data += chunk
        place = -1
        while (place := data.find(mark, place + 1)) >= 0:
            yield base + place
        keep = min(len(mark) - 1, len(data))
        base, data = base + len(data) - keep, data[len(data) - keep :]
