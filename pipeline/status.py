"""The books of a dataset, as they stand now, from what is stored there alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa

from pipeline.build import books_of, read_config
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
        balanced: every video is in one state, and the clips of the catalog are those of the packs.
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
    books = books_of(read_config(store))
    measured = sum(commit.clips for commit in books.commits.values())
    catalog = read_clips(store)
    decisions = count_decisions(catalog) if catalog is not None else {}
    decided = sum(decisions.values())
    if measured > decided:
        decisions[UNDECIDED] = measured - decided
    version = read_version(store) if list_versions(store) else None
    shards = version.shards if version else ()
    return Status(
        videos=books.counts(),
        clips=decisions,
        shards=len(shards),
        bytes=sum(shard.bytes for shard in shards),
        balanced=sum(books.counts().values()) == len(books.videos) and decided <= measured,
    )


def count_decisions(clips: pa.Table) -> dict[str, int]:
    """Decision -> number of clips."""
    return dict(sorted(Counter(clips["decision"].to_pylist()).items()))
