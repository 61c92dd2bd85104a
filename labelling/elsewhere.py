"""Labels made elsewhere: what a labels file says that the database does not know is taken into it.

`labels/labels.jsonl` is written anew from the database, and people may make it, or add to it, by other
means. So it is read before it is written, and nothing that was said is lost.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from filters.labels import LabelRow, read_labels
from labelling.database import Database
from shards.errors import UserError
from shards.store import Store

LABELS_FILE = "labels/labels.jsonl"


def import_labels(store: Store, database: Database) -> int:
    """Take what `labels/labels.jsonl` says into the database; returns how many labels were new to it.

    A label is known by clip (or video), labeller, label and time: an answer that was exported once is
    not another one, not even where it has been undone since. Where there is no file, or nothing in it,
    nothing happens.

    Raises:
        UserError: the file is not one of labels.
    """
    path = store.path(LABELS_FILE)
    if not path.exists():
        return 0
    try:
        lines = path.read_bytes().splitlines()
        if not any(line.strip() for line in lines):
            return 0
        rows = read_labels(path).rows
        said = [_as_kept(row, _note(lines, row)) for row in rows]
        with database.transaction() as connection:
            known = {
                (row["key"], row["labeller"], row["label"], _milliseconds(row["at"]))
                for row in connection.execute("SELECT key, labeller, label, at FROM answers")
            }
            new = [
                row
                for row in said
                if (row["key"], row["labeller"], row["label"], _milliseconds(row["at"])) not in known
            ]
            before = connection.total_changes
            connection.executemany(
                "INSERT INTO imported (video_id, key, labeller, label, note, at) "
                "VALUES (:video_id, :key, :labeller, :label, :note, :at) ON CONFLICT DO NOTHING",
                new,
            )
            return connection.total_changes - before
    except (UserError, OSError, ValueError) as error:
        # Where it stands is said by the first; the last is text that no database can hold.
        reason = str(error) if isinstance(error, UserError) else f"{path}: cannot be read ({error})"
        raise UserError(f"{reason}; mend it or move it away, it is not written over") from None


def _as_kept(row: LabelRow, note: str) -> dict[str, Any]:
    at = row.at.astimezone(UTC)
    precise = "microseconds" if at.microsecond % 1000 else "milliseconds"
    return {
        "video_id": row.video_id,
        "key": row.key or "",
        "labeller": row.labeller,
        "label": row.label,
        "note": note,
        "at": at.isoformat(timespec=precise).replace("+00:00", "Z"),
    }


def _note(lines: list[bytes], row: LabelRow) -> str:
    """The note of a row, which is all that `filters.labels` does not read."""
    kind, _, number = row.place.partition(" ")
    if kind != "line":
        raise ValueError("it is Parquet by another name")
    note = json.loads(lines[int(number) - 1]).get("note")
    return note if isinstance(note, str) else "" if note is None else json.dumps(note)


def _milliseconds(at: str) -> int:
    """To the millisecond, which is what the page's answers have."""
    return round(datetime.fromisoformat(at).timestamp() * 1000)
