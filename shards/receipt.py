"""Receipts of what was forgotten: every object that was touched, with its hash before and after.

A receipt is begun before anything is touched, so that whoever goes on after a kill knows what was there.
It also holds digests of the key-frame packets of the clips, by which `shards.checks.forgotten` would know
them again under any name; nothing of a picture can be had from them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from shards.codec import CodecError, key_packets
from shards.errors import UserError
from shards.store import Store

_NAME = re.compile(r"reports/forget-\d{6,}\.json")
_SMALLEST_PACKET_BYTES = 256
_DIGEST_BYTES = 8


@dataclass(frozen=True)
class Touched:
    """An object; hashes are SHA-256 of all its bytes.

    Attributes:
        before: None if it was made by the forgetting.
        after: None if it is gone, or the receipt is not done.
    """

    name: str
    before: str | None
    after: str | None = None


@dataclass(frozen=True)
class Receipt:
    """What was forgotten, and what that took.

    Attributes:
        name: its object.
        at: when it was begun, ISO 8601.
        done: whether all of it was done.
        video_ids: the videos.
        withdrawn: the numbers of the versions that held clips of them.
        successor: the number of the version that was published without them; None if there is none. It
            stands there, and among the objects what was made for it, before it is published.
        objects: what was touched.
        packets: digests of the clips' larger key-frame packets, hexadecimal.
    """

    name: str
    at: str
    done: bool
    video_ids: tuple[str, ...]
    withdrawn: tuple[int, ...]
    successor: int | None
    objects: tuple[Touched, ...]
    packets: tuple[str, ...]


def begin_receipt(
    store: Store,
    video_ids: Iterable[str],
    withdrawn: Iterable[int],
    objects: Iterable[str],
    packets: Iterable[str],
) -> Receipt:
    """Write down what is going to be touched."""
    receipt = Receipt(
        name="",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        done=False,
        video_ids=tuple(sorted(video_ids)),
        withdrawn=tuple(sorted(withdrawn)),
        successor=None,
        objects=tuple(Touched(name, digest) for name in objects if (digest := hash_object(store, name))),
        packets=tuple(sorted(packets)),
    )
    number = 1
    while not store.create(_name(number), _data(receipt)):
        number += 1
    return replace(receipt, name=_name(number))


def write_receipt(store: Store, receipt: Receipt) -> None:
    """Write a receipt over the one that was begun."""
    store.put(receipt.name, _data(receipt))


def read_receipts(store: Store) -> list[Receipt]:
    """All receipts, oldest first.

    Raises:
        UserError: one is damaged.
    """
    return [_read(store, name) for name in store.list("reports") if _NAME.fullmatch(name)]


def hash_object(store: Store, name: str) -> str | None:
    """SHA-256 of an object; None if there is none."""
    try:
        with store.open(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def packet_digests(mp4: bytes) -> Iterator[str]:
    """A digest of each key-frame packet that is too large to be the same by chance; see `Receipt`.

    Raises:
        CodecError: it is no clip file.
    """
    for packet in key_packets(mp4):
        if len(packet) >= _SMALLEST_PACKET_BYTES:
            yield hashlib.blake2b(packet, digest_size=_DIGEST_BYTES).hexdigest()


def readable_digests(clips: Iterable[bytes]) -> set[str]:
    """The digests of all packets of some clip files, but for those that cannot be read any more."""
    found: set[str] = set()
    for mp4 in clips:
        try:
            found.update(packet_digests(mp4))
        except CodecError:
            continue
    return found


def withdrawn_versions(receipts: Iterable[Receipt]) -> Collection[int]:
    """The numbers of all versions that were withdrawn: none is given to another one."""
    return {number for receipt in receipts for number in receipt.withdrawn}


def _name(number: int) -> str:
    return f"reports/forget-{number:06d}.json"


def _data(receipt: Receipt) -> bytes:
    body = asdict(receipt)
    del body["name"]
    return json.dumps(body, indent=1).encode() + b"\n"


def _read(store: Store, name: str) -> Receipt:
    try:
        body = json.loads(store.read(name))
        return Receipt(
            name=name,
            at=body["at"],
            done=body["done"],
            video_ids=tuple(body["video_ids"]),
            withdrawn=tuple(body["withdrawn"]),
            successor=body["successor"],
            objects=tuple(Touched(**touched) for touched in body["objects"]),
            packets=tuple(body["packets"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{store.where(name)}: is damaged ({type(error).__name__}); bring it back: it is what a "
            "forgotten video is known by"
        ) from error
