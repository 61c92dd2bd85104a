"""The attempt log: what work began, written down before it did, and how it went wrong.

Nothing here is ever changed, so it tells what happened whatever became of it. One that came to an
end has a commit instead; one that neither ended nor has a commit went down with its run.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.outcomes import PENDING
from shards.journal import Journal
from shards.store import Store

ATTEMPT_SCHEMA = pa.schema(
    [
        pa.field("at", pa.float64(), nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("settings", pa.string(), nullable=False),
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("state", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("passing", pa.bool_()),
        pa.field("alone", pa.bool_()),
        pa.field("log", pa.string()),
    ]
)
"""A row for each beginning (`event` is `begin`) and each end without a commit (`end`, `died`)."""

BEGIN, END, DIED = "begin", "end", "died"

# Ends wait for so many companions before they are written. A run that is killed forgets them, and what
# they tell of is tried again.
_FLUSH_ROWS = 16


def attempt_journal(store: Store) -> Journal:
    """All attempts of a dataset."""
    return Journal(store, "attempts", ATTEMPT_SCHEMA)


class AttemptLog:
    """The part of the log that one run writes. A context manager: leaving it writes what is left."""

    def __init__(self, store: Store, settings: str) -> None:
        self._journal = attempt_journal(store)
        self._settings = settings
        self._run = f"{time.time_ns():020d}-{os.urandom(4).hex()}"
        self._number = 0
        self._waiting: list[dict[str, Any]] = []

    def __enter__(self) -> AttemptLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def begin(self, video_ids: Iterable[str], *, alone: bool) -> None:
        """Write down that work on these videos begins; when this returns it may."""
        self._waiting += [self._row(BEGIN, video_id, alone=alone) for video_id in video_ids]
        self.flush()

    def end(self, video_id: str, state: str, detail: str | None, *, passing: bool, log: str | None) -> None:
        """Write down, soon, how an attempt failed.

        Args:
            passing: whether the same may go well soon.
            log: the trace of a bug.
        """
        row = self._row(END, video_id) | {"state": state, "detail": detail, "passing": passing, "log": log}
        self._waiting.append(row)
        if len(self._waiting) >= _FLUSH_ROWS:
            self.flush()

    def died(self, video_id: str, state: str, detail: str, *, alone: bool, log: str) -> None:
        """Write down at once that an attempt took its process along.

        Args:
            state: what the video is now: `pending`, or `failed:crashed` when it is kept apart.
            alone: whether nothing else was at work on its node.
            log: what the process said last.
        """
        row = self._row(DIED, video_id, alone=alone)
        self._waiting.append(row | {"state": state, "detail": detail, "passing": False, "log": log})
        self.flush()

    def flush(self) -> None:
        """Write down what waits."""
        if self._waiting:
            self._journal.create(f"{self._run}-{self._number:08d}", self._waiting)
            self._number += 1
            self._waiting = []

    def _row(self, event: str, video_id: str, *, alone: bool = False) -> dict[str, Any]:
        names = {"event": event, "settings": self._settings, "video_id": video_id, "alone": alone}
        return {"at": time.time()} | names


def last_ends(store: Store, settings: str) -> pa.Table:
    """How each video's last attempt ended that ended without a commit, one row a video."""
    rows = attempt_journal(store).read(["at", "event", "settings", "video_id", "state", "detail", "passing"])
    ended = rows.filter(pc.and_(pc.equal(rows["settings"], settings), pc.not_equal(rows["event"], BEGIN)))
    newest_first = ended.take(pc.sort_indices(ended, sort_keys=[("at", "descending")]))
    first = pc.index_in(pc.unique(newest_first["video_id"]), value_set=newest_first["video_id"])
    return newest_first.take(first)


def deaths_alone(store: Store, settings: str) -> Counter[str]:
    """Video id -> how often it took its process along when alone, since it was last kept apart for that."""
    rows = attempt_journal(store).read(["at", "event", "settings", "video_id", "state", "alone"])
    died = rows.filter(pc.and_(pc.equal(rows["settings"], settings), pc.equal(rows["event"], DIED)))
    deaths: Counter[str] = Counter()
    # A row may stand twice where attempts are just being gathered.
    rows_once = {(row["at"], row["video_id"]): row for row in died.sort_by("at").to_pylist()}
    for row in rows_once.values():
        deaths[row["video_id"]] += row["alone"]
        if row["state"] != PENDING:
            del deaths[row["video_id"]]
    return +deaths
