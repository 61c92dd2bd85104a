"""Garbage: objects that nothing in the dataset names, and versions that nobody wants to keep.

What is removed, and in which order: the views of versions that are not kept; then these versions, each
then being gone as a whole; then the shards, indexes and catalogs that no version names which is left; then
packs, wide frames and scores that no commit names; then what dead processes were writing. So whenever it is
killed, every version that is left is complete, and every commit too; the rest is found by the next
collection.

An object that no version and no commit ever named may belong to a build somewhere that has not come to
naming it, so it is spared while it is young; and while a build is known to be at work, nothing is
collected at all (`shards.runs`). Names that are not of Genieset's making are never touched.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from shards.ahead import in_order
from shards.backend import STAGING
from shards.bucket import Upload
from shards.catalog import CATALOG_NAME, CLIPS, VIDEOS, catalog_names
from shards.commits import commit_journal
from shards.errors import UserError
from shards.export.base import export_kinds
from shards.export.write import export_folder
from shards.index import index_name
from shards.manifest import Version, list_versions, read_version, version_name
from shards.names import PACK, SHARD
from shards.object_store import PROBE
from shards.runs import announce
from shards.store import Store

YOUNG_S = 86400.0
"""Younger than this, what nothing names yet is spared."""

_KNOWN_S = 60.0  # that this run was not taken for dead
_EXPORT = re.compile(r"exports/[a-z]+/\d{6,}")


@dataclass(frozen=True)
class Garbage:
    """An object to be removed.

    Attributes:
        why: `export`: it is a view of a version that is not among those to keep, or is gone; `version`: it
            is not among them; `shard`, `catalog`: no version names it; `pack`,
            `score`: no commit does; `unfinished`: a process was writing it and is gone.
        upload: the parts of it that a bucket has, where it is no object yet.
    """

    name: str
    bytes: int
    why: str
    upload: str | None = None


@dataclass(frozen=True)
class Collected:
    """What was removed.

    Attributes:
        report: the object that lists it; None if there was nothing.
    """

    objects: tuple[Garbage, ...]
    report: str | None


def find_garbage(store: Store, *, keep: int | None = None, young_s: float = YOUNG_S) -> tuple[Garbage, ...]:
    """What `collect_garbage` would remove now, in its order; nothing is touched.

    Args:
        keep: so many of the newest versions; all of them by default.

    Raises:
        UserError: a version to keep, or a commit, is damaged, so that what it names is not known.
    """
    found = list(_named_by_nothing(store, keep, young_s))
    sizes = in_order(store, lambda named: _size_bytes(store, named[1]), found)
    objects = (
        Garbage(name, size, why) for (why, name), size in zip(found, sizes, strict=True) if size is not None
    )
    uploads = (
        Garbage(upload.name, upload.size, "unfinished", upload.id)
        for upload in store.uploads()
        if time.time() - upload.heard_s >= young_s
    )
    return (*objects, *uploads)


def collect_garbage(store: Store, *, keep: int | None = None, young_s: float = YOUNG_S) -> Collected:
    """Remove garbage, after writing down in `reports/` what is going to be removed.

    Raises:
        UserError: a build is at work on the dataset; or as `find_garbage`.
    """
    with announce(store, "gc") as run:
        found = find_garbage(store, keep=keep, young_s=young_s)
        if not found:
            return Collected(found, None)
        report = _write_report(store, found, keep, young_s)
        for number, garbage in enumerate(found):
            if number and garbage.why != found[number - 1].why:
                # That a version is gone outlives a power cut before its shards go.
                store.settle(found[number - 1].name.rpartition("/")[0])
            # After a long sleep of this machine others may have written what was garbage before.
            run.check(known_s=_KNOWN_S)
            _remove(store, garbage)
    return Collected(found, report)


def _remove(store: Store, garbage: Garbage) -> None:
    if garbage.upload is None:
        store.remove(garbage.name)
    else:
        store.end_upload(Upload(garbage.name, garbage.upload, garbage.bytes, 0.0))


def _write_report(store: Store, found: Sequence[Garbage], keep: int | None, young_s: float) -> str:
    body = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "keep": keep,
        "young_s": young_s,
        "bytes": sum(garbage.bytes for garbage in found),
        "objects": [asdict(garbage) for garbage in found],
    }
    data = json.dumps(body, indent=1).encode() + b"\n"
    number = 1
    while not store.create(f"reports/gc-{number:06d}.json", data):
        number += 1
    return f"reports/gc-{number:06d}.json"


def _named_by_nothing(store: Store, keep: int | None, young_s: float) -> Iterator[tuple[str, str]]:
    """Why an object is garbage, and its name."""
    numbers = list_versions(store)
    gone = numbers[:-keep] if keep else []
    left = [_kept(store, number, numbers) for number in numbers if number not in gone]
    # Of one that cannot be read, what it named is as if it had never been named.
    withdrawn = [version for number in gone if (version := _readable(store, number))]
    yield from (("export", name) for name in _exports_of_none(store, [version.number for version in left]))
    yield from (("version", version_name(number)) for number in gone)
    for why, names_of, there in (
        ("shard", _shards_of, _matching(store.list("shards"), SHARD)),
        ("catalog", lambda some: _catalogs_of(store, some), _catalogs(store)),
    ):
        named, was_named = names_of(left), names_of(withdrawn)
        for name in there:
            if name not in named and (name in was_named or _is_old(store, name, young_s)):
                yield why, name
    yield from _of_no_commit(store, young_s)
    yield from (("unfinished", n) for n in store.list(STAGING) if n != PROBE and _is_old(store, n, young_s))


def _kept(store: Store, number: int, numbers: Sequence[int]) -> Version:
    try:
        return read_version(store, number)
    except UserError as error:
        newer = sum(other > number for other in numbers)
        way_out = (
            f"gc --keep {newer} withdraws it, and those before it"
            if newer
            else "it is the newest, which gc keeps"
        )
        raise UserError(
            f"{error}; what it names is not known, so that nothing is removed; {way_out}"
        ) from None


def _readable(store: Store, number: int) -> Version | None:
    try:
        return read_version(store, number)
    except UserError:
        return None


def _exports_of_none(store: Store, numbers: Sequence[int]) -> Iterator[str]:
    """The views of versions that are none of these."""
    kept = {export_folder(kind, number) for kind in export_kinds() for number in numbers}
    for kind in sorted(export_kinds()):
        for folder in store.folders(export_folder(kind, 0).rpartition("/")[0]):
            if _EXPORT.fullmatch(folder) and folder not in kept:
                yield from store.list(folder)


def _shards_of(versions: Iterable[Version]) -> set[str]:
    tars = {entry.name for version in versions for entry in version.shards}
    return tars | {index_name(tar) for tar in tars}


def _catalogs_of(store: Store, versions: Iterable[Version]) -> set[str]:
    return {
        name
        for version in versions
        for kind in (VIDEOS, CLIPS)
        for name in catalog_names(store, kind, version)
    }


def _catalogs(store: Store) -> list[str]:
    return [n for kind in (VIDEOS, CLIPS) for n in _matching(store.list(f"catalog/{kind}"), CATALOG_NAME)]


def _of_no_commit(store: Store, young_s: float) -> Iterator[tuple[str, str]]:
    packs = commit_journal(store).read(["pack"])["pack"].drop_null().to_pylist()
    named = {pack.removeprefix("packs/").removesuffix(".tar") for pack in packs}
    scores = (name for folder in store.folders("scores") for name in store.list(folder))
    for why, names in (("pack", _matching(store.list("packs"), None)), ("score", scores)):
        for name in names:
            match = PACK.fullmatch(name.rpartition("/")[2])
            if match and match["stem"] not in named and _is_old(store, name, young_s):
                yield why, name


def _matching(names: Iterable[str], pattern: re.Pattern[str] | None) -> list[str]:
    """Those of the names, a tar before what lies beside it: where there is a tar, there is its index."""
    found = [name for name in names if pattern is None or pattern.fullmatch(name)]
    return sorted(found, key=lambda name: (not name.endswith(".tar"), name))


def _is_old(store: Store, name: str, young_s: float) -> bool:
    try:
        return time.time() - store.modified_s(name) >= young_s
    except FileNotFoundError:
        return False  # whoever wrote it has just taken it away


def _size_bytes(store: Store, name: str) -> int | None:
    try:
        return store.size_bytes(name)
    except FileNotFoundError:
        return None
