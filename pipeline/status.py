"""The books of a dataset, as they stand now, from what is stored there alone."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import candidates
from pipeline.build import books_of, read_config
from pipeline.config import BuildConfig
from pipeline.curate import count_decisions
from pipeline.ledger import Books
from shards.catalog import CLIPS, CURATED, SETTINGS_KEY
from shards.commits import commit_journal
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
        unlisted: videos with a commit that no list of candidates names: a list was lost.
        balanced: no video is unlisted, and of each ingested one as many clips were decided on as its commit
            says, or none yet.
    """

    videos: dict[str, int]
    clips: dict[str, int]
    shards: int
    bytes: int
    unlisted: int
    balanced: bool


def read_status(store: Store) -> Status:
    """Read the books.

    Raises:
        UserError: no build ever began there.
    """
    config = read_config(store)
    books = books_of(config, store)
    ingested = books.ingested()
    committed = pa.table(
        {
            "video_id": pa.array([entry.video_id for entry in ingested], pa.string()),
            "clips": pa.array([entry.clips for entry in ingested], pa.int64()),
        }
    )
    decided = _decided(store, config, committed["video_id"])
    decisions = count_decisions(decided)
    counted = decided.group_by("video_id").aggregate([([], "count_all")])
    place = pc.index_in(committed["video_id"], value_set=counted["video_id"])
    counts = counted["count_all"].take(place)
    undecided = pc.sum(committed["clips"].filter(pc.is_null(counts))).as_py()
    if undecided:
        decisions[UNDECIDED] = undecided
    unlisted = _unlisted(store, config, books)
    version = read_version(store) if list_versions(store) else None
    shards = version.shards if version else ()
    return Status(
        videos=books.counts(),
        clips=decisions,
        shards=len(shards),
        bytes=sum(shard.bytes for shard in shards),
        unlisted=unlisted,
        balanced=not unlisted and pc.all(pc.equal(committed["clips"], counts)).as_py() is not False,
    )


def _unlisted(store: Store, config: BuildConfig, books: Books) -> int:
    commits = commit_journal(store).read(["settings", "video_id"])
    ended = commits.filter(pc.equal(commits["settings"], config.settings_hash))["video_id"]
    strangers = ended.filter(pc.invert(pc.is_in(ended, value_set=books.rows["video_id"])))
    if not len(strangers):
        return 0
    # A source may have left the config; what it found stays found.
    listed = pc.is_in(strangers, value_set=candidates.listed_ids(store))
    return len(pc.unique(strangers.filter(pc.invert(listed))))


def _decided(store: Store, config: BuildConfig, video_ids: pa.ChunkedArray) -> pa.Table:
    """Video and decision of each clip that was decided on."""
    nothing = pa.table({"video_id": pa.array([], pa.string()), "decision": pa.array([], pa.string())})
    if not store.exists(CURATED[CLIPS]):
        return nothing
    clips = store.read_table(CURATED[CLIPS], columns=nothing.column_names)
    # Of a catalog from other settings, or of videos that the titles reject now, nothing is decided.
    if (clips.schema.metadata or {}).get(SETTINGS_KEY) != config.settings_hash.encode():
        return nothing
    return clips.filter(pc.is_in(clips["video_id"], value_set=video_ids.combine_chunks()))
