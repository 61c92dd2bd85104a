"""The books: every discovered video is in exactly one state.

States are computed, never stored as fate: opting out and the title rules speak first, then the
commit, then the last attempt; what none of them knows of is pending. All of it is columns, so that a
million videos are read in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from filters.titles import TitleRules
from pipeline.attempts import last_ends
from pipeline.opt_out import OptOut
from pipeline.outcomes import INGESTED, OPTED_OUT, PENDING
from shards.commits import read_commits
from shards.records import CANDIDATE_SCHEMA, VIDEO_SCHEMA, Video
from shards.store import Store
from shards.tombstones import FORGOTTEN, forgotten_ids

_NOBODY = OptOut()


class State(NamedTuple):
    """Where a video stands, and one line for a person."""

    state: str
    detail: str | None


class Ingested(NamedTuple):
    """A video whose clips are cut: their pack, and how many they are."""

    video_id: str
    pack: str
    clips: int


@dataclass(frozen=True)
class Books:
    """All discovered videos with their states.

    Attributes:
        rows: `VIDEO_SCHEMA` with what the download taught, where there was one; besides `pack` and
            `clips` of the ingested, and `passing`: whether a failure is worth another try. Sorted by
            video id.
        forgotten: how many videos were forgotten; nothing else is known of them.
    """

    rows: pa.Table
    forgotten: int = 0

    def counts(self) -> dict[str, int]:
        """State -> number of videos."""
        counted = pc.value_counts(self.rows["state"]).to_pylist()
        counts = {entry["values"]: entry["counts"] for entry in counted}
        if self.forgotten:
            counts[FORGOTTEN] = self.forgotten
        return dict(sorted(counts.items()))

    def in_state(self, state: str) -> list[str]:
        """The ids of the videos in a state, sorted."""
        ids: list[str] = self._where(pc.equal(self.rows["state"], state))["video_id"].to_pylist()
        return ids

    def state(self, video_id: str) -> State:
        """The state of one video. Raises KeyError if there is no such video."""
        row = self._row(video_id)
        return State(row["state"], row["detail"])

    def video(self, video_id: str) -> Video:
        """One video. Raises KeyError if there is no such video."""
        return Video.from_row(self._row(video_id))

    def ingested(self) -> list[Ingested]:
        """The videos whose clips are cut."""
        rows = self._where(pc.equal(self.rows["state"], INGESTED))
        columns = (rows[name].to_pylist() for name in Ingested._fields)
        return [Ingested(*row) for row in zip(*columns, strict=True)]

    def waiting(self, retry: Collection[str] = (), only: Collection[str] = ()) -> Waiting:
        """The videos to be tried: pending ones, and failed ones for which that makes sense.

        Args:
            retry: classes of failure to be tried again whatever the reason was.
            only: ids of videos; the others wait. None of them named, none waits.
        """
        state = self.rows["state"]
        asked = pa.array([f"failed:{failure}" for failure in retry], pa.string())
        wanted = pc.or_(pc.or_(pc.equal(state, PENDING), self.rows["passing"]), pc.is_in(state, asked))
        if only:
            wanted = pc.and_(wanted, pc.is_in(self.rows["video_id"], pa.array(only, pa.string())))
        return Waiting(self._where(wanted).select(CANDIDATE_SCHEMA.names))

    def catalog(self) -> pa.Table:
        """The catalog of videos."""
        return self.rows.select(VIDEO_SCHEMA.names).cast(VIDEO_SCHEMA)

    def _row(self, video_id: str) -> dict[str, Any]:
        place = pc.index(self.rows["video_id"], video_id).as_py()
        if place < 0:
            raise KeyError(video_id)
        row: dict[str, Any] = self.rows.slice(place, 1).to_pylist()[0]
        return row

    def _where(self, mask: pa.ChunkedArray) -> pa.Table:
        return self.rows.filter(mask)


class Waiting:
    """Videos to be tried. They become objects one at a time, however many they are.

    Args:
        rows: a table of `CANDIDATE_SCHEMA`.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows.combine_chunks()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Video:
        return Video.from_row(self._rows.slice(place, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Video]:
        for batch in self._rows.to_batches(max_chunksize=1000):
            yield from map(Video.from_row, batch.to_pylist())

    @cached_property
    def video_ids(self) -> list[str]:
        """Their ids, in order."""
        ids: list[str] = self._rows["video_id"].to_pylist()
        return ids


def read_books(
    store: Store,
    candidates: pa.Table,
    titles: TitleRules | None,
    settings: str,
    opt_out: OptOut = _NOBODY,
) -> Books:
    """Read the state of every candidate from the dataset.

    Args:
        candidates: a table of `CANDIDATE_SCHEMA`, one row a video; with a column `info`, opting out goes by
            that too.
    """
    candidates = candidates.sort_by("video_id").combine_chunks()
    commits = _of(candidates, read_commits(store, settings))
    opted_out = pc.coalesce(opt_out.match_table(candidates), _by_learned(candidates, commits, opt_out))
    candidates = candidates.select(CANDIDATE_SCHEMA.names)
    judged = _judged(_title_states(candidates, titles), opted_out)
    ends = _of(candidates, _still_so(last_ends(store, settings), opt_out))
    by_title, committed = pc.is_valid(judged["state"]), pc.is_valid(commits["state"])
    accepted = pc.and_(pc.invert(by_title), committed)
    tried = pc.and_(pc.invert(pc.or_(by_title, committed)), pc.is_valid(ends["state"]))
    columns = {}
    for name in CANDIDATE_SCHEMA.names:
        # The listing is what the title rules judge; the rest is known better after the download.
        learned = pc.struct_field(commits["video"], name)
        columns[name] = (
            pc.if_else(accepted, learned, candidates[name]) if name != "video_id" else candidates[name]
        )
    columns["state"] = pc.coalesce(judged["state"], commits["state"], ends["state"], pa.scalar(PENDING))
    columns["detail"] = pc.if_else(
        by_title, judged["detail"], pc.if_else(committed, commits["detail"], ends["detail"])
    )
    columns["pack"] = pc.if_else(accepted, commits["pack"], pa.scalar(None, pa.string()))
    columns["clips"] = pc.if_else(accepted, commits["clips"], 0)
    columns["passing"] = pc.and_(tried, pc.fill_null(ends["passing"], fill_value=False))
    return Books(pa.table(columns), len(forgotten_ids(store)))


def _of(candidates: pa.Table, known: pa.Table) -> pa.Table:
    """For each candidate the first row that is known of it, or nulls."""
    known = known.combine_chunks()
    return known.take(pc.index_in(candidates["video_id"], value_set=known["video_id"])).combine_chunks()


def _by_learned(candidates: pa.Table, commits: pa.Table, opt_out: OptOut) -> pa.Array:
    """Who opted out by what the download taught and the listing did not say: most often the channel."""
    nobody = pa.nulls(len(candidates), pa.string())
    if not opt_out.root:
        return nobody
    learned = commits["video"]
    news = [
        pc.not_equal(pc.fill_null(pc.struct_field(learned, name), ""), pc.fill_null(candidates[name], ""))
        for name in ("url", "channel")
    ]
    mask = pc.and_(pc.is_valid(commits["state"]), pc.or_(*news)).combine_chunks()
    entries = opt_out.match_table(pa.Table.from_struct_array(learned.filter(mask)))
    return pc.replace_with_mask(nobody, mask, entries)


def _still_so(ends: pa.Table, opt_out: OptOut) -> pa.Table:
    """Without those whose page had opted out by an entry that is gone."""
    out = pc.equal(ends["state"], OPTED_OUT)
    stands = pc.is_in(ends["detail"], value_set=pa.array(opt_out.root, pa.string()))
    return ends.filter(pc.or_(pc.invert(out), stands))


def _judged(by_title: pa.Table, opted_out: pa.Array) -> pa.Table:
    """Who opted out is rejected for that, whatever the title says."""
    out = pc.is_valid(opted_out)
    states = pc.if_else(out, pa.scalar(OPTED_OUT), by_title["state"])
    return pa.table({"state": states, "detail": pc.if_else(out, opted_out, by_title["detail"])})


def _title_states(candidates: pa.Table, titles: TitleRules | None) -> pa.Table:
    states: list[str | None] = [None] * len(candidates)
    details: list[str | None] = [None] * len(candidates)
    if titles:
        told = zip(candidates["title"].to_pylist(), candidates["description"].to_pylist(), strict=True)
        for place, (title, description) in enumerate(told):
            verdict = titles.verdict(title, description)
            if verdict.rule:
                states[place] = f"rejected:{verdict.rule}"
                details[place] = (
                    f"{verdict.matched!r} in the title" if verdict.matched else "no word of the list"
                )
    return pa.table({"state": pa.array(states, pa.string()), "detail": pa.array(details, pa.string())})
