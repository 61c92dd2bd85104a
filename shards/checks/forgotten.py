"""The proof that forgotten videos are gone: nothing in the whole dataset names them or shows them.

Every object is looked at, whatever it is: its name; its bytes, as they lie (databases with their free
pages and their log, too, and what was half written); the texts of its tables, whose pages are compressed;
and of every mp4 in a tar the key-frame packets, against the digests of the receipts. Left out are the
tombstones, the receipts, and `config.json`, which is its user's own.

A packet is told by its bytes, whatever it is called. One of less than 256 bytes is not looked for: that is
a picture with nothing in it, which many videos share.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Collection, Iterator

from shards.checks.faults import Fault, first_of, guarded
from shards.codec import CodecError
from shards.errors import UserError
from shards.mentions import Mentions, every_object, known_ids, read_texts
from shards.receipt import is_receipt, packet_digests, read_receipts
from shards.store import Store
from shards.tar import read_members
from shards.tombstones import forgotten_ids, is_tombstone

_CONFIG = "config.json"
_TEXT = "names a forgotten video"


def check_forgotten(store: Store, on_object: Callable[[int, int, str], None] | None = None) -> list[Fault]:
    """What is left of forgotten videos, object by object; nothing if they are gone.

    Args:
        on_object: is called after each object with how many were looked at, how many there are, and
            its name.

    Raises:
        UserError: nothing was ever forgotten here, or a receipt is damaged.
    """
    receipts = read_receipts(store)
    video_ids = forgotten_ids(store) | {one for receipt in receipts for one in receipt.video_ids}
    if not video_ids:
        raise UserError(f"dataset {store.url}: nothing was forgotten there")
    packets = {packet for receipt in receipts for packet in receipt.packets}
    faults = [
        Fault(receipt.name, "was begun and is not done; the same `genieset forget` goes on")
        for receipt in receipts
        if not receipt.done
    ]
    mentions = Mentions(video_ids, _readable_ids(store))
    names = list(every_object(store))
    for number, name in enumerate(names, 1):
        if name != _CONFIG and not is_tombstone(name) and not is_receipt(name):
            faults += first_of(name, guarded(name, _remains(store, name, mentions, packets)))
        if on_object:
            on_object(number, len(names), name)
    return faults


def _readable_ids(store: Store) -> frozenset[str]:
    """What cannot be read is told of when its turn comes."""
    try:
        return known_ids(store)
    except (UserError, KeyError, OSError, ValueError):
        return frozenset()


def _remains(store: Store, name: str, mentions: Mentions, packets: Collection[str]) -> Iterator[Fault]:
    if mentions.in_text(name):
        yield Fault(name, "is named after a forgotten video")
    with store.open(name) as file:
        for start, end in mentions.in_file(file):
            yield Fault(name, _TEXT, start_byte=start, end_byte=end)
    if name.endswith(".parquet"):
        yield from _in_rows(store, name, mentions)
    elif name.endswith(".tar"):
        yield from _in_members(store, name, packets)


def _in_rows(store: Store, name: str, mentions: Mentions) -> Iterator[Fault]:
    first = 0
    for part in read_texts(store, name):
        for path, rows in mentions.in_table(part):
            for row in rows.tolist():
                yield Fault(name, _TEXT, f"row {first + row}, column {path}")
        first += len(part)


def _in_members(store: Store, name: str, packets: Collection[str]) -> Iterator[Fault]:
    if not packets:
        return
    with store.open(name) as file:
        try:
            members = [member for member in read_members(file) if member.suffix.endswith("mp4")]
        except tarfile.TarError as error:
            yield Fault(name, f"its clips cannot be compared: {error}")
            return
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
