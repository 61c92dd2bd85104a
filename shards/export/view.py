"""What an export sees of a dataset: one version, its catalog, and how to name an object."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from shards.catalog import read_catalog
from shards.errors import UserError
from shards.manifest import Version
from shards.store import Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
_HASH_CHARS = 8


@dataclass(frozen=True)
class CatalogObject:
    """The catalog of videos or of clips of a version: its object, and its rows."""

    name: str
    bytes: int
    sha256: str
    table: pa.Table


@dataclass(frozen=True)
class View:
    """What is exported.

    Attributes:
        name: what the dataset is called.
        place: what leads from the export to the dataset: empty, or ends with `/`.
        catalog: of `videos` and of `clips`.
    """

    version: Version
    name: str
    place: str
    catalog: Mapping[str, CatalogObject]

    def url(self, name: str) -> str:
        """How the export names an object of the dataset."""
        return self.place + name

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The rows, as `shards.query` takes them."""
        return {kind: catalog.table for kind, catalog in self.catalog.items()}


def read_view(store: Store, version: Version, place: str, name: str | None = None) -> View:
    """Read what is exported of a version.

    Args:
        place: as in `View`.
        name: what the dataset is called; by default `genieset-` and the start of the version's hash.

    Raises:
        UserError: the name has characters that a name may not have, or the catalog is missing.
    """
    name = f"genieset-{version.hash[:_HASH_CHARS]}" if name is None else name
    if not _NAME.fullmatch(name):
        raise UserError(f"--name {name!r}: use up to 100 letters, digits, spaces and . _ -")
    catalog = {}
    for kind, (found, table) in read_catalog(store, version).items():
        data = store.read(found)
        catalog[kind] = CatalogObject(found, len(data), hashlib.sha256(data).hexdigest(), table)
    return View(version, name, place, catalog)
