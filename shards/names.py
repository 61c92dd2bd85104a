"""What Genieset calls its own in a dataset: an object of any other name is somebody else's.

A top-level folder of its own may be a link to a place elsewhere on the same file system, as `packs` to a
larger folder. No other link to a folder is entered: what lies behind it is no part of the dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shards.backend import STAGING
from shards.store import Store

CONFIG = "config.json"
"""The settings of the newest build, which are their user's own."""

HASH_CHARS = 8
"""So much of a content's SHA-256 stands in the names of packs, shards and catalogs."""

PACK = re.compile(r"(?P<stem>(?P<video_id>[A-Za-z0-9_-]+)-[0-9a-f]{12}-[0-9a-f]{8})\..+")
"""The last part of the name of a pack, and of what lies beside it or holds its scores."""

SHARD = re.compile(r"shards/[A-Za-z0-9]+-\d{6,}-[0-9a-f]{8}\.(tar|parquet)")
"""The name of a shard, and of its index."""

STAGED = re.compile(re.escape(STAGING) + r"/(?P<pid>\d+)-\d+-[0-9a-f]{8}")
"""What a process is writing, by its number."""

_STEM = r"[A-Za-z0-9_-]+-[0-9a-f]{12}-[0-9a-f]{8}"
_OURS = {
    "": r"config\.json",
    STAGING: r"\d+-\d+-[0-9a-f]{8}|created-if-absent",
    "attempts": r"[^/]+\.json|segments/[0-9a-f]+\.parquet",
    "budgets": r"[^/]+/(closed|slots/\d+)\.json",
    "candidates": r"(segments/)?[^/]+\.parquet",
    "catalog": r"(videos|clips)/(curated|\d{6,}-[0-9a-f]{8}-[0-9a-f]{8})\.parquet",
    "classifiers": r"[0-9a-f]{12}/(card\.json|model\.safetensors)",
    "commits": r"[^/]+\.json|segments/[0-9a-f]+\.parquet",
    "exports": r"[^/]+/\d{6,}/.+",
    "labels": r"labels\.jsonl|labels\.sqlite3(-wal|-shm|-journal)?|audit-[^/]+\.json",
    # Beside a pack lies what came with its video, such as `<stem>.info.json`.
    "packs": _STEM + r"\..+",
    "quarantine": r"[^/]+\.json",
    "reports": r"(gc|forget)-\d{6,}\.json|verify/[^/]+/[^/]+\.json",
    "runs": r"[a-z]+-\d+-[0-9a-f]{8}\.json",
    "scores": r"[^/]+/" + _STEM + r"\.parquet",
    "shards": r"[A-Za-z0-9]+-\d{6,}-[0-9a-f]{8}\.(tar|parquet)",
    "tombstones": r"[^/]+\.json",
    "versions": r"\d{6,}\.json",
}
_PATTERNS = {folder: re.compile(pattern) for folder, pattern in _OURS.items()}
_MAY_NAME = re.compile(r"config\.json|tombstones/[^/]+\.json|reports/forget-\d{6,}\.json")


def is_ours(name: str) -> bool:
    """Whether an object has a name that Genieset gives; what has not is never changed nor removed."""
    folder, _, rest = name.partition("/") if "/" in name else ("", "", name)
    return folder in _PATTERNS and _PATTERNS[folder].fullmatch(rest) is not None


def may_name_forgotten(name: str) -> bool:
    """Whether an object may name forgotten videos: the config, a tombstone, a receipt."""
    return _MAY_NAME.fullmatch(name) is not None


def every_object(store: Store) -> Iterator[str]:
    """The names of all objects, at any depth, whosever they are."""
    yield from store.list("")
    for folder in sorted({*store.folders(""), *(_PATTERNS.keys() & set(store.links("")))}):
        yield from _under(store, folder)


def unseen_links(store: Store) -> Iterator[str]:
    """The links to folders in folders of Genieset's own: it may read through them, and does not list them."""
    for folder in sorted(_PATTERNS.keys() & {*store.folders(""), *store.links("")}):
        yield from _links_under(store, folder)


def _under(store: Store, folder: str) -> Iterator[str]:
    yield from store.list(folder)
    for inner in store.folders(folder):
        yield from _under(store, inner)


def _links_under(store: Store, folder: str) -> Iterator[str]:
    yield from store.links(folder)
    for inner in store.folders(folder):
        yield from _links_under(store, inner)
