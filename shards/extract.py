"""Take clips out of a dataset into a folder: `<key>.mp4` and what is known of each as `<key>.json`."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa

from shards.codec import CodecError
from shards.errors import UserError
from shards.keys import parse_key
from shards.lookup import Found, look_up
from shards.store import Store


@dataclass(frozen=True)
class Extracted:
    """How many clips were written, and how many lay there already, byte for byte."""

    written: int
    already_there: int


def extract(store: Store, views: dict[str, pa.Table], keys: Collection[str], out: Store) -> Extracted:
    """Write clips, published or only packed, to a folder; what lies there is never written over.

    Args:
        views: the catalog, as of `shards.query.read_views`.
        out: the folder.

    Raises:
        UserError: there is no such clip, its bytes are damaged, `out` lies in the dataset, or a file of its
            name lies there that is another.
    """
    if _lies_in(out, store):
        raise UserError(f"--out {out.url}: lies in the dataset; give a folder outside of it")
    written = already_there = 0
    for found in look_up(store, views, keys):
        key = found.placed.clip.key
        # An index may have been written by anyone; what names a file is a key and nothing else.
        try:
            parse_key(key)
            mp4 = found.read(store).mp4
        except (ValueError, CodecError) as error:
            raise UserError(f"dataset {store.url}: {found.tar}: {error}") from None
        # The picture last: where there is one, what is known of it lies beside it.
        new = [_create(out, f"{key}.json", described(found)), _create(out, f"{key}.mp4", mp4)]
        written += any(new)
        already_there += not any(new)
    return Extracted(written, already_there)


def _lies_in(out: Store, store: Store) -> bool:
    if out.is_remote or store.is_remote:
        return f"{out.everywhere}/".startswith(f"{store.everywhere}/")
    return out.root.resolve().is_relative_to(store.root.resolve())


def described(found: Found) -> bytes:
    """What is known of a clip, as JSON: `video`, `clip` and `scores`, as `genieset show --json` has them."""
    body = {"video": found.video, "clip": found.clip, "scores": found.scores}
    return json.dumps(body, indent=1).encode() + b"\n"


def _create(out: Store, name: str, data: bytes) -> bool:
    if out.create(name, data):
        return True
    if out.read(name) != data:
        raise UserError(f"--out {out.url}: {name} lies there already and is another; give an empty folder")
    return False
