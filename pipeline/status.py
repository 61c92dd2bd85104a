"""The books of a dataset, as they stand now, from what is stored there alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.build import books_of, read_config
from pipeline.curate import SETTINGS_KEY
from shards.catalog import read_clips
from shards.manifest import list_versions, read_version
from shards.store import Store

UNDECIDED = "undecided"


@dataclass(frozen=True)
class Status:
    """Counts of everything, and whether they add up.

    Attributes:
        videos: state -> number of videos.
        clips: decision -> number of clips; `undecided` ones were measured since the last curation.
        shards: of the newest version.
        bytes: of the newest version's shards.
        balanced: of each ingested video, as many clips were decided on as its commit says, or none yet.
    """

    videos: dict[str, int]
    clips: dict[str, int]
    shards: int
    bytes: int
    balanced: bool


def read_status(store: Store) -> Status:
    """Read the books.

    Raises:
        UserError: no build ever began there.
    """
    config = read_config(store)
    books = books_of(config)
    committed = {entry.video_id: entry.clips for entry in books.ingested()}
    catalog = read_clips(store)
    decisions: dict[str, int] = {}
    decided: Counter[str] = Counter()
    # Of a catalog from other settings, or of videos that the titles reject now, nothing is decided.
    if (
        catalog is not None
        and (catalog.schema.metadata or {}).get(SETTINGS_KEY) == config.settings_hash.encode()
    ):
        counted = catalog.filter(pc.is_in(catalog["video_id"], pa.array(committed, pa.string())))
        decisions = count_decisions(counted)
        decided = Counter(counted["video_id"].to_pylist())
    undecided = sum(count for video_id, count in committed.items() if video_id not in decided)
    if undecided:
        decisions[UNDECIDED] = undecided
    version = read_version(store) if list_versions(store) else None
    shards = version.shards if version else ()
    return Status(
        videos=books.counts(),
        clips=decisions,
        shards=len(shards),
        bytes=sum(shard.bytes for shard in shards),
        balanced=all(committed[video_id] == count for video_id, count in decided.items()),
    )


def count_decisions(clips: pa.Table) -> dict[str, int]:
    """Decision -> number of clips."""
    return dict(sorted(Counter(clips["decision"].to_pylist()).items()))
