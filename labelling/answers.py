"""What labellers answered: kept for good, undone at will, written out for training."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from labelling.database import DATABASE, Database
from labelling.elsewhere import LABELS_FILE, import_labels
from shards.errors import UserError
from shards.store import Store

PAUSE_S = 120.0
"""Whoever takes longer for a clip was away, and that time counts for no pace."""

_PACE_ANSWERS = 100


@dataclass(frozen=True)
class Answer:
    """What a labeller said of a clip.

    Attributes:
        id: made by the page, so that an answer sent twice is one.
        label: 1 (bad) to 5 (good gameplay); None: skipped.
        note: empty where nothing was noted.
    """

    id: str
    key: str
    labeller: str
    label: int | None
    note: str = ""


class Answers:
    """The answers of a dataset; those that were undone are kept, and counted nowhere.

    What a labeller says of a clip is what they said of it last.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def give(self, plan: int, answer: Answer) -> None:
        """Keep an answer; it is on the disk when this returns. One that is known already changes nothing.

        Raises:
            KeyError: the clip is not in the plan.
            ValueError: another answer has its id.
        """
        with self.database.transaction() as database:
            inside = "SELECT 1 FROM planned WHERE plan = ? AND key = ?"
            if not database.execute(inside, (plan, answer.key)).fetchone():
                raise KeyError(answer.key)
            database.execute(
                "INSERT INTO answers (id, plan, key, labeller, label, note, at) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO NOTHING",
                (answer.id, plan, answer.key, answer.labeller, answer.label, answer.note, _now()),
            )
            of_id = "SELECT id, key, labeller, label, note FROM answers WHERE id = ?"
            if Answer(**dict(database.execute(of_id, (answer.id,)).fetchone())) != answer:
                raise ValueError(answer.id)

    def undo(self, answer_id: str, labeller: str) -> str | None:
        """Take an answer back; returns its clip, or None if this labeller gave no such answer."""
        with self.database.transaction() as database:
            database.execute(
                "UPDATE answers SET undone_at = ? WHERE id = ? AND labeller = ? AND undone_at IS NULL",
                (_now(), answer_id, labeller),
            )
            own = "SELECT key FROM answers WHERE id = ? AND labeller = ?"
            row = database.execute(own, (answer_id, labeller)).fetchone()
        return row["key"] if row else None

    @property
    def none_ever(self) -> bool:
        """Whether nobody has said anything yet, here or elsewhere, not even what was undone."""
        with self.database.reading() as database:
            known = "SELECT 1 FROM answers UNION ALL SELECT 1 FROM imported LIMIT 1"
            return database.execute(known).fetchone() is None

    def last(self, plan: int, labeller: str, count: int) -> list[Answer]:
        """The newest answers of a labeller in a plan, the newest last; none on clips that are gone."""
        with self.database.reading() as database:
            rows = database.execute(
                "SELECT id, key, labeller, label, note FROM answers "
                "WHERE plan = :plan AND labeller = :labeller AND undone_at IS NULL "
                "AND key IN (SELECT key FROM planned WHERE plan = :plan AND NOT gone) "
                "ORDER BY number DESC LIMIT :count",
                {"plan": plan, "labeller": labeller, "count": count},
            ).fetchall()
        return [Answer(**dict(row)) for row in reversed(rows)]

    def pace(self, labeller: str) -> float | None:
        """Clips an hour of a labeller's last hundred answers, pauses left out; None before the second."""
        with self.database.reading() as database:
            rows = database.execute(
                "SELECT at FROM answers WHERE labeller = ? AND undone_at IS NULL "
                "ORDER BY number DESC LIMIT ?",
                (labeller, _PACE_ANSWERS),
            ).fetchall()
        return clips_an_hour([datetime.fromisoformat(row["at"]).timestamp() for row in reversed(rows)])

    def labels(self) -> list[sqlite3.Row]:
        """The standing labels as rows of key, label, labeller, at, note: one a clip and labeller, sorted.

        A clip that was skipped last has none of that labeller. Of what was said here and elsewhere the
        later counts.
        """
        with self.database.reading() as database:
            return database.execute(_STANDING).fetchall()

    def labels_of_videos(self) -> list[sqlite3.Row]:
        """What was said elsewhere of whole videos, as rows of video_id, label, labeller, at, note; sorted."""
        with self.database.reading() as database:
            return database.execute(
                "SELECT video_id, label, labeller, at, note FROM imported WHERE key = '' "
                "ORDER BY video_id, labeller, at, label"
            ).fetchall()


_STANDING = """
WITH said AS (
    SELECT key, labeller, label, at, note, 0 AS elsewhere, number FROM answers
    WHERE number IN (SELECT max(number) FROM answers WHERE undone_at IS NULL GROUP BY key, labeller)
    UNION ALL SELECT key, labeller, label, at, note, 1, number FROM imported WHERE key != ''
), ranked AS (
    SELECT *, row_number()
    OVER (PARTITION BY key, labeller ORDER BY at DESC, elsewhere DESC, number DESC) AS place FROM said
)
SELECT key, label, labeller, at, note FROM ranked WHERE place = 1 AND label IS NOT NULL
ORDER BY key, labeller
"""


def clips_an_hour(times_s: list[float]) -> float | None:
    """The pace of answers at these ascending times in seconds; None where there is no time between two."""
    gaps = [after - before for before, after in pairwise(times_s)]
    at_work = [gap for gap in gaps if 0 <= gap <= PAUSE_S]
    return 3600 * len(at_work) / sum(at_work) if sum(at_work) > 0 else None


def export(store: Store, answers: Answers) -> int:
    """Write `labels/labels.jsonl`, whole or not at all; returns how many labels are in it.

    What the file says already, and nobody said here, is taken into the database first and so stays in
    it. Where nobody ever said anything, nothing is written.

    Raises:
        UserError: what stands there are no labels.
    """
    import_labels(store, answers.database)
    if answers.none_ever:
        return 0
    lines = []
    for row in (*answers.labels(), *answers.labels_of_videos()):
        label = {name: row[name] for name in row.keys() if name != "note" or row[name]}  # noqa: SIM118
        lines.append(json.dumps(label) + "\n")
    store.put(LABELS_FILE, "".join(lines).encode())
    return len(lines)


def export_labels(store: Store) -> int:
    """Write the labels of a dataset to `labels/labels.jsonl`; returns how many there are.

    Raises:
        UserError: nobody has labelled anything yet, or what stands there are no labels.
    """
    if store.exists(DATABASE) or store.exists(LABELS_FILE):
        with Database(store) as database:
            answers = Answers(database)
            count = export(store, answers)
            if not answers.none_ever:
                return count
    raise UserError(f"dataset {store.url}: has no labels yet; `genieset label {store.url}` makes them")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
