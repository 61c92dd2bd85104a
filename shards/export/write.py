"""Write a view of a version: into the dataset, where `forget` finds it, or into a folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches

from shards.errors import UserError
from shards.export.base import export_kinds
from shards.export.view import read_view
from shards.manifest import Version
from shards.runs import writing
from shards.store import Store

_INSIDE = "../../../"
_MEANT = re.compile(r"[#?%*\[\]{}]")


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, and the names of the files in it."""

    folder: str
    files: tuple[str, ...]


def export_version(
    store: Store, version: Version, kind: str, *, out: str | None = None, name: str | None = None
) -> Exported:
    """Write one kind of view.

    Args:
        out: a folder outside, which will name the shards by the way that leads from it to the dataset;
            by default `exports/<kind>/<version>/` of the dataset.
        name: as in `shards.export.view.read_view`.

    Raises:
        UserError: there is no such kind, or `out` is no folder or holds another file of the same name, or no
            address leads from it to the dataset.
    """
    kinds = export_kinds()
    if kind not in kinds:
        near = get_close_matches(kind, kinds, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(kinds))}"
        raise UserError(f"--to {kind}: no such kind of export; {hint}")
    if out and "://" in out:
        raise UserError(
            f"--out {out}: give a folder; without --out it is written into the dataset's exports/"
        )
    if out is None:
        folder = export_folder(kind, version.number)
        with writing(store, "export"):
            files = kinds[kind]().files(read_view(store, version, _INSIDE, name))
            for file, data in files.items():
                store.put(f"{folder}/{file}", data)
        return Exported(f"{store.url}/{folder}", tuple(files))
    files = kinds[kind]().files(read_view(store, version, _way(out, store), name))
    target = Store(out)
    taken = [file for file, data in files.items() if target.exists(file) and target.read(file) != data]
    if taken:
        raise UserError(f"--out {out}: {taken[0]} lies there already and is another; give an empty folder")
    for file, data in files.items():
        target.put(file, data)
    return Exported(out, tuple(files))


def export_folder(kind: str, number: int) -> str:
    """`exports/<kind>/000001`: where a view of a version lies in the dataset."""
    return f"exports/{kind}/{number:06d}"


def exports_of(store: Store, number: int) -> list[str]:
    """The objects of all views of a version that lie in the dataset: they go when the version goes."""
    return [name for kind in sorted(export_kinds()) for name in store.list(export_folder(kind, number))]


def _way(out: str, store: Store) -> str:
    """What leads from a folder to the dataset."""
    place = store.everywhere
    if "://" in place:
        way = place.rstrip("/") + "/"
    else:
        # `..` is followed by the file system, for which a link is where it leads to.
        way = os.path.relpath(os.path.realpath(place), os.path.realpath(out)) + "/"
    if meant := _MEANT.search(way):
        raise UserError(
            f"--out {out}: the way to the dataset, {way}, has {meant[0]!r}, which addresses and globs give a "
            "meaning; move one of them, or leave --out away"
        )
    return way
