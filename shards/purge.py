"""Purge: every object of a dataset without some videos.

Shards and packs are never changed: what holds a clip of the videos is removed. Of a table the rows go that
are theirs, and where else a row names them, that value; of JSON lines the lines, of a JSON document the
entries that name them. The catalogs of versions that stay are written anew under the hash of their bytes.
Everything else that names them is removed, but for tombstones, receipts, versions (which name no video),
the database of labels (`labelling.purge`), and `config.json`, which is the user's own. What has not a name
that Genieset gives is its user's own too: it is told of, and never touched.

Each object is done by itself and in an order by which what is left is whole at every moment: a commit goes
before its pack, a tar before its index, the new catalog is there before the old one goes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from shards.ahead import in_order
from shards.backend import STAGING
from shards.catalog import CATALOG_NAME, CURATED, named_by_content
from shards.errors import UserError
from shards.index import index_name
from shards.manifest import list_versions, read_version
from shards.mentions import Mentions
from shards.names import PACK, STAGED, every_object, is_ours, may_name_forgotten
from shards.store import Store, write_parquet
from shards.tables import as_written
from shards.tar import read_members

LABELS_DATABASE = "labels/labels.sqlite3"
"""With what SQLite keeps beside it, it is purged by whoever knows its tables."""

_UNTOUCHED = ("versions/", "runs/", LABELS_DATABASE)
_ORDER = ("catalog", "shards", "exports", "candidates", "commits", "attempts", "scores", "packs")
_OF_THE_VIDEO = frozenset({"video_id", "key", "pack", "video.video_id"})
# A classifier's card is named by its hash: without a line it would only be a damaged one.
_WHOLE = frozenset({"shards", "packs", "scores", "exports", "quarantine", "classifiers", STAGING})
_GONE: Any = object()


def holding_tars(store: Store, folder: Literal["shards", "packs"], video_ids: frozenset[str]) -> list[str]:
    """The tars of a folder that hold clips of some videos.

    Where an index is missing or damaged, the tar itself is looked at.
    """
    tars = [name for name in store.list(folder) if name.endswith(".tar") and is_ours(name)]
    videos = in_order(store, lambda tar: _videos_in(store, tar), tars)
    return [tar for tar, there in zip(tars, videos, strict=True) if not video_ids.isdisjoint(there)]


def also_packs(mentions: Mentions, packs: Iterable[str], known: Iterable[str]) -> Mentions:
    """Finds besides the videos what belongs to packs that hold them and are not named after them.

    Such a pack goes with all that names it: its commit, so that others in it are cut anew, and its scores.
    """
    stems = {_stem(pack) for pack in packs if not _names_one(pack, mentions)}
    return Mentions({*mentions.video_ids, *stems}, known) if stems else mentions


def find_mentions(store: Store, mentions: Mentions, shards: Iterable[str], packs: Iterable[str]) -> list[str]:
    """The objects that `purge_object` is to be called with, in that order.

    Args:
        shards: those that hold clips of the videos.
        packs: likewise.
    """
    names = [name for name in every_object(store) if is_ours(name)]
    named = {name for tar in shards for name in (tar, index_name(tar))}
    holding = {_stem(pack) for pack in packs}
    # What its tar says goes for what lies beside a pack: they are most of a dataset.
    told = {_stem(name) for name in names if name.startswith("packs/") and name.endswith(".tar")}
    found = []
    for name in names:
        if may_name_forgotten(name) or name.startswith(_UNTOUCHED):
            continue
        staged = name.startswith(("packs/", "scores/"))
        if (
            name in named
            or (staged and _stem(name) in holding)
            or _names_one(name, mentions)
            or (not (staged and _stem(name) in told) and _holds_one(store, name, mentions))
        ):
            found.append(name)
    return sorted(found, key=_turn)


def find_foreign(store: Store, mentions: Mentions) -> list[str]:
    """The objects that name the videos and are not of Genieset's making."""
    return [
        name
        for name in every_object(store)
        if not is_ours(name) and (mentions.in_text(name) or _says_one(store, name, mentions))
    ]


def purge_object(store: Store, name: str, mentions: Mentions) -> None:
    """Take the videos out of one object, or the object away.

    Raises:
        UserError: it is damaged.
    """
    # One that is not there went with another one, or by a run before.
    with suppress(FileNotFoundError):
        _purging(name, mentions)(store, name, mentions)


def clean_table(table: pa.Table, mentions: Mentions) -> pa.Table:
    """The rows that are not of these videos, in their order; other mentions of them become null.

    Written, the table becomes the bytes that it would have become without them from the first.
    """
    table = table.cast(as_written(table.schema))
    gone = np.zeros(len(table), bool)
    touched: set[int] = set()
    for path, rows in mentions.in_table(table):
        if path in _OF_THE_VIDEO:
            gone[rows] = True
        else:
            touched.update(rows.tolist())
    places = np.arange(len(table))
    cleaned = {}
    for row in touched:
        if not gone[row]:
            (values,) = table.slice(row, 1).to_pylist()
            new = _scrubbed_row(values, table.schema, mentions)
            gone[row] = new is None
            if new is not None:
                cleaned[row] = new
    changed = np.zeros(len(table), bool)
    changed[list(cleaned)] = True
    same = table.filter(pa.array(~gone & ~changed))
    if not cleaned:
        return same
    rewritten = pa.Table.from_pylist(list(cleaned.values()), schema=table.schema)
    order = np.concatenate([places[~gone & ~changed], np.array(list(cleaned), np.int64)])
    return pa.concat_tables([same, rewritten]).take(pa.array(np.argsort(order)))


def _videos_in(store: Store, tar: str) -> set[str]:
    try:
        return set(store.read_table(index_name(tar), ["video_id"])["video_id"].to_pylist())
    except (FileNotFoundError, UserError, KeyError):
        with store.open(tar) as file:
            return {key.rpartition("_")[0] for key in _readable_keys(file)}


def _readable_keys(file: io.BufferedReader) -> Iterator[str]:
    try:
        for member in read_members(file):
            yield member.key
    except tarfile.TarError:
        return


def _stem(name: str) -> str:
    """What a pack and all that belongs to it begin with."""
    found = PACK.fullmatch(name.rpartition("/")[2])
    return found["stem"] if found else name


def _names_one(name: str, mentions: Mentions) -> bool:
    if name.startswith(("packs/", "scores/")) and (staged := PACK.fullmatch(name.rpartition("/")[2])):
        return staged["video_id"] in mentions.video_ids
    return mentions.in_text(name)


def _holds_one(store: Store, name: str, mentions: Mentions) -> bool:
    if name.startswith("shards/") and name.endswith(".tar"):
        return False  # its index told
    if name.startswith(f"{STAGING}/"):
        staged = STAGED.fullmatch(name)
        return staged is not None and not Path("/proc", staged["pid"]).exists()
    try:
        return mentions.in_object(store, name)
    except FileNotFoundError:
        return False


def _says_one(store: Store, name: str, mentions: Mentions) -> bool:
    """As `Mentions.in_object`, as far as somebody else's object can be read."""
    try:
        return mentions.in_object(store, name)
    except (UserError, OSError):
        return False


def _turn(name: str) -> tuple[int, bool, bool, str]:
    folder = name.split("/")[0]
    place = _ORDER.index(folder) if folder in _ORDER else len(_ORDER)
    return place, name not in CURATED.values(), not name.endswith(".tar"), name


def _purging(name: str, mentions: Mentions) -> Callable[[Store, str, Mentions], None]:
    folder = name.split("/")[0]
    if folder in _WHOLE or _names_one(name, mentions):
        return _remove
    if CATALOG_NAME.fullmatch(name):
        return _purge_catalog
    if name.endswith(".parquet"):
        return _purge_table
    if name.endswith(".jsonl") or (folder in {"commits", "attempts"} and name.endswith(".json")):
        return _purge_lines
    if name.endswith(".json"):
        return _purge_document
    return _remove


def _remove(store: Store, name: str, _: Mentions) -> None:
    store.remove(name)


def _purge_table(store: Store, name: str, mentions: Mentions) -> None:
    store.put_table(name, clean_table(store.read_table(name), mentions))


def _purge_catalog(store: Store, name: str, mentions: Mentions) -> None:
    """The catalog of a version is named by its bytes, and goes with its version."""
    if _has_version(store, name):
        file = io.BytesIO()
        write_parquet(clean_table(store.read_table(name), mentions), file)
        store.create(named_by_content(name, file.getvalue()), file.getvalue())
    store.remove(name)


def _has_version(store: Store, catalog: str) -> bool:
    told = CATALOG_NAME.fullmatch(catalog)
    if told is None or (number := int(told["number"])) not in list_versions(store):
        return False
    return read_version(store, number).hash.startswith(told["version"])


def _purge_lines(store: Store, name: str, mentions: Mentions) -> None:
    lines = store.read(name).splitlines(keepends=True)
    left = [line for line in lines if next(mentions.places(line), None) is None]
    _put_or_remove(store, name, b"".join(left))


def _purge_document(store: Store, name: str, mentions: Mentions) -> None:
    try:
        body = json.loads(store.read(name))
    except ValueError:
        store.remove(name)
        return
    left = _scrubbed(body, mentions)
    data = b"" if left is _GONE else json.dumps(left, indent=1).encode() + b"\n"
    _put_or_remove(store, name, b"" if next(mentions.places(data), None) else data)


def _put_or_remove(store: Store, name: str, data: bytes) -> None:
    if data:
        store.put(name, data)
    else:
        store.remove(name)


def _scrubbed(value: Any, mentions: Mentions) -> Any:
    """Of a list what does not name the videos; an object one of whose own values names them is gone."""
    if isinstance(value, str):
        return _GONE if mentions.in_text(value) else value
    if isinstance(value, list):
        return [new for item in value if (new := _scrubbed(item, mentions)) is not _GONE]
    if isinstance(value, dict):
        scrubbed = {key: _scrubbed(item, mentions) for key, item in value.items()}
        if any(item is _GONE or mentions.in_text(key) for key, item in scrubbed.items()):
            return _GONE
        return scrubbed
    return value


def _scrubbed_row(row: dict[str, Any], schema: pa.Schema, mentions: Mentions) -> dict[str, Any] | None:
    """A row in which what names the videos is null; None if there is no row without it."""
    new = {}
    for name, value in row.items():
        scrubbed = _scrubbed(value, mentions)
        if scrubbed is _GONE and not schema.field(name).nullable:
            return None
        new[name] = None if scrubbed is _GONE else scrubbed
    return new
