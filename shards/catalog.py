"""The catalog: a row for each video and each clip, with every decision, as Parquet.

`catalog/{videos,clips}/curated.parquet` is what the rules say now. Beside it stands what they said
when a version was published, which adds where every kept clip lies and never changes. It tells of
places and so is no part of the version; instead its name says which version it belongs to, by number
and hash, and the hash of its own bytes: `000001-<version>-<own>.parquet`. So it can be written before
the version is, and a run that another one overtakes leaves the other's catalog alone.
"""

from __future__ import annotations

import hashlib
import io
import re

import pyarrow as pa

from shards.errors import UserError
from shards.manifest import Version, list_versions, read_version
from shards.names import HASH_CHARS
from shards.store import Store, write_parquet

VIDEOS = "videos"
CLIPS = "clips"

CURATED = {kind: f"catalog/{kind}/curated.parquet" for kind in (VIDEOS, CLIPS)}
"""The objects with the newest decisions."""

SETTINGS_KEY = b"genieset_settings"
"""In the metadata of the catalog of clips: the settings hash that names their packs."""

CATALOG_NAME = re.compile(
    r"catalog/(videos|clips)/(?P<number>\d{6,})-(?P<version>[0-9a-f]{8})-(?P<own>[0-9a-f]{8})\.parquet"
)
"""The objects with the catalogs of versions."""


def catalog_names(store: Store, kind: str, version: Version) -> list[str]:
    """The objects with the videos or the clips of a version.

    There is one, unless a build was killed just before it published and its repetition, which
    published the same, knew of further videos; then each of them is true.
    """
    return [name for name in store.list(f"catalog/{kind}") if name.startswith(_stem(kind, version))]


def is_whole(name: str, data: bytes) -> bool:
    """Whether these are the bytes by which a version's catalog was named."""
    return name.endswith(f"-{_hash(data)}.parquet")


def named_by_content(name: str, data: bytes) -> str:
    """The name that a version's catalog of this name would have if these were its bytes."""
    return f"{name.rpartition('-')[0]}-{_hash(data)}.parquet"


def write_curated(store: Store, videos: pa.Table, clips: pa.Table) -> None:
    """Write the newest decisions over the ones before."""
    for kind, table in ((VIDEOS, videos), (CLIPS, clips)):
        store.put_table(CURATED[kind], table)


def create_catalog(store: Store, version: Version, videos: pa.Table, clips: pa.Table) -> None:
    """Write the catalogs of a version that is about to be published."""
    for kind, table in ((VIDEOS, videos), (CLIPS, clips)):
        file = io.BytesIO()
        write_parquet(table, file)
        data = file.getvalue()
        store.create(f"{_stem(kind, version)}{_hash(data)}.parquet", data)


def read_clips(store: Store) -> pa.Table | None:
    """The clips with the newest decisions; those in the newest version also say where they lie.

    None if nothing was curated yet.
    """
    if not store.exists(CURATED[CLIPS]):
        return None
    curated = store.read_table(CURATED[CLIPS])
    published = _published(store, curated)
    return curated if published is None else published[1]


def curated_version(store: Store) -> Version | None:
    """The newest version, if it was published with the newest decisions; otherwise None."""
    if not store.exists(CURATED[CLIPS]):
        return None
    published = _published(store, store.read_table(CURATED[CLIPS]))
    return None if published is None else published[0]


def _published(store: Store, curated: pa.Table) -> tuple[Version, pa.Table] | None:
    """The newest version and its clips, if they were decided on as these are."""
    if list_versions(store):
        version = read_version(store)
        decided = curated.drop_columns(["shard", "offset"])
        for name in catalog_names(store, CLIPS, version):
            clips = store.read_table(name)
            if clips.drop_columns(["shard", "offset"]).equals(decided):
                return version, clips
    return None


def read_catalog(store: Store, version: Version) -> dict[str, tuple[str, pa.Table]]:
    """The catalog of a version: of `videos` and of `clips`, the object's name and its rows.

    Where there are several, the one that knows most; they agree on what is published.

    Raises:
        UserError: there is none, or it is damaged.
    """
    found = {}
    for kind in (VIDEOS, CLIPS):
        tables = [(name, store.read_table(name)) for name in catalog_names(store, kind, version)]
        if not tables:
            raise UserError(f"dataset {store.url}: the catalog of {kind} of {version.name} is missing")
        found[kind] = max(tables, key=lambda table: (len(table[1]), table[0]))
    return found


def _stem(kind: str, version: Version) -> str:
    return f"catalog/{kind}/{version.number:06d}-{version.hash[:HASH_CHARS]}-"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:HASH_CHARS]
