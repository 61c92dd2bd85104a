"""Tombstones: which videos were forgotten, so that nothing takes them in again.

`tombstones/<video_id>.json` says nothing but the id: neither title nor address.
"""

from __future__ import annotations

import json

from shards.store import Store

FORGOTTEN = "rejected:forgotten"
"""The state of a video that has a tombstone."""

_FOLDER = "tombstones"
_SUFFIX = ".json"


def create_tombstone(store: Store, video_id: str) -> None:
    """Say for good that a video is not wanted; said twice it is said once."""
    store.create(tombstone_name(video_id), json.dumps({"video_id": video_id}).encode() + b"\n")


def tombstone_name(video_id: str) -> str:
    """The object that says that a video was forgotten."""
    return f"{_FOLDER}/{video_id}{_SUFFIX}"


def forgotten_ids(store: Store) -> frozenset[str]:
    """The ids of all videos that have a tombstone."""
    names = (name for name in store.list(_FOLDER) if name.endswith(_SUFFIX))
    return frozenset(name.removeprefix(f"{_FOLDER}/").removesuffix(_SUFFIX) for name in names)
