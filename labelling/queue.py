"""Who is shown which clip next: plans as they were drawn, dealt out to labellers.

Some clips of a plan are shown to everybody, so that agreement can be measured. Each of the others goes
to one labeller: who asks is dealt the next ones, and has them for a while. What was dealt to someone who
went away is free again when that time is over; should they answer it after all, it has two labels.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from labelling.database import Database
from labelling.plans import is_shared, sample, strata_sizes
from shards.catalog import curated_version
from shards.store import Store

_HASH_CHARS = 8

DEALT_FOR_S = 600.0
"""So long a clip is a labeller's after they were last heard of."""


@dataclass(frozen=True)
class Progress:
    """How far a labeller is in a plan.

    Attributes:
        clips: how many there are for this labeller: all but those that the dataset has lost.
        done: those on which this labeller has nothing more to say.
        elsewhere: open ones that other labellers have at the moment.
        by_label: this labeller's standing labels of these clips, from label 1 to label 5.
        skipped: what this labeller skipped of them.
    """

    clips: int
    done: int
    elsewhere: int
    by_label: tuple[int, int, int, int, int]
    skipped: int


# A clip is closed to a labeller who has answered it, and one that is not shared to all when it has a label.
_CLOSED = """(
    EXISTS (SELECT 1 FROM answers a WHERE a.key = p.key AND a.labeller = :labeller AND a.undone_at IS NULL)
    OR EXISTS (SELECT 1 FROM imported i WHERE i.key = p.key AND i.labeller = :labeller)
    OR NOT p.shared AND (
        EXISTS (SELECT 1 FROM answers a WHERE a.key = p.key AND a.label IS NOT NULL AND a.undone_at IS NULL)
        OR EXISTS (SELECT 1 FROM imported i WHERE i.key = p.key)
    )
)"""
_WITH_OTHERS = """(NOT p.shared AND EXISTS (
    SELECT 1 FROM dealt d
    WHERE d.plan = p.plan AND d.key = p.key AND d.labeller != :labeller AND d.until_s > :now_s
))"""
_NEXT = f"""
SELECT p.key, p.shared FROM planned p WHERE p.plan = :plan AND NOT p.gone
AND NOT {_CLOSED} AND NOT {_WITH_OTHERS} ORDER BY p.position LIMIT :count
"""  # noqa: S608
_HOW_FAR = f"""
SELECT count(*), coalesce(sum({_CLOSED}), 0), coalesce(sum(NOT {_CLOSED} AND {_WITH_OTHERS}), 0)
FROM planned p WHERE p.plan = :plan AND NOT p.gone
"""  # noqa: S608


class Queue:
    """The clips of one plan. Open one with `open_queue`.

    Attributes:
        uid: tells this plan from every other one, of any dataset.
    """

    def __init__(self, database: Database, plan: int, uid: str, spec: str) -> None:
        self._database = database
        self.plan = plan
        self.uid = uid
        self.spec = spec

    def keys(self) -> frozenset[str]:
        """The clips of the plan that the dataset still has."""
        with self._database.reading() as database:
            rows = database.execute("SELECT key FROM planned WHERE plan = ? AND NOT gone", (self.plan,))
            return frozenset(row["key"] for row in rows)

    def deal(self, labeller: str, count: int, now_s: float | None = None) -> list[str]:
        """The next clips for a labeller, who has them from now on for a while.

        Args:
            now_s: seconds since 1970; the clock's by default.
        """
        now_s = time.time() if now_s is None else now_s
        with self._database.transaction() as database:
            rows = database.execute(
                _NEXT,
                {"plan": self.plan, "labeller": labeller, "now_s": now_s, "count": count},
            ).fetchall()
            for row in rows:
                if not row["shared"]:
                    _take(database, self.plan, row["key"], labeller, now_s)
        return [row["key"] for row in rows]

    def take_back(self, key: str, labeller: str) -> None:
        """Deal a clip to the labeller who has just undone what they said of it, unless another one has it."""
        with self._database.transaction() as database:
            _take(database, self.plan, key, labeller, time.time())

    def progress(self, labeller: str, now_s: float | None = None) -> Progress:
        """How far a labeller is."""
        now_s = time.time() if now_s is None else now_s
        with self._database.reading() as database:
            told = database.execute(
                _HOW_FAR,
                {"plan": self.plan, "labeller": labeller, "now_s": now_s},
            ).fetchone()
            rows = database.execute(
                "SELECT label, count(*) AS clips FROM answers WHERE number IN "
                "(SELECT max(number) FROM answers "
                "WHERE plan = :plan AND labeller = :labeller AND undone_at IS NULL "
                "AND key IN (SELECT key FROM planned WHERE plan = :plan AND NOT gone) GROUP BY key) "
                "GROUP BY label",
                {"plan": self.plan, "labeller": labeller},
            ).fetchall()
        labels = {row["label"]: row["clips"] for row in rows}
        one, two, three, four, five = (labels.get(label, 0) for label in range(1, 6))
        return Progress(told[0], told[1], told[2], (one, two, three, four, five), labels.get(None, 0))


def open_queue(
    database: Database, store: Store, clips: pa.Table, spec: str, clips_wanted: int, seed: int, overlap: float
) -> Queue:
    """Draw a plan, or go on with it where it was drawn before: what is dealt never changes afterwards.

    Of an audit `labels/audit-<seed>-<clips>-<decisions>.json` tells each clip's stratum and probability,
    and each stratum's size, so that what is found in the sample can be said of the whole. It is of
    one set of decisions, told by their hash and the version that was published with them (null: none), and
    another set is another audit.

    Raises:
        UserError: see `labelling.plans.sample`.
    """
    decided = decisions_hash(clips) if spec == "audit" else None
    known_as = f"{spec}@{decided}" if decided else spec
    with database.transaction() as connection:
        row = _find(connection, known_as, clips_wanted, seed)
        if row is None:
            drawn = sample(clips, spec, clips_wanted, seed)
            connection.execute(
                "INSERT INTO plans (uid, spec, clips, seed, at) VALUES (?, ?, ?, ?, ?)",
                (secrets.token_hex(8), known_as, clips_wanted, seed, datetime.now(UTC).isoformat()),
            )
            row = _find(connection, known_as, clips_wanted, seed)
            assert row is not None
            connection.executemany(
                "INSERT INTO planned VALUES (?, ?, ?, ?, ?, 0, 0)",
                [(row["plan"], place, *vars(chosen).values()) for place, chosen in enumerate(drawn)],
            )
            if decided:
                version = curated_version(store)
                audit = {
                    "seed": seed,
                    "decisions": decided,
                    "version": version.number if version else None,
                    "strata": strata_sizes(clips, spec),
                    "clips": [vars(chosen) for chosen in drawn],
                }
                name = f"labels/audit-{seed}-{clips_wanted}-{decided[:_HASH_CHARS]}.json"
                store.put(name, json.dumps(audit, indent=1).encode())
        _mark(connection, row["plan"], set(clips["key"].to_pylist()), overlap)
    return Queue(database, row["plan"], row["uid"], spec)


def decisions_hash(clips: pa.Table) -> str:
    """SHA-256 of which clips there are and what was decided on each, in whatever order they stand."""
    pairs = zip(clips["key"].to_pylist(), clips["decision"].to_pylist(), strict=True)
    return hashlib.sha256(
        "".join(f"{key} {decision}\n" for key, decision in sorted(pairs)).encode()
    ).hexdigest()


def _find(connection: sqlite3.Connection, spec: str, clips_wanted: int, seed: int) -> sqlite3.Row | None:
    found: sqlite3.Row | None = connection.execute(
        "SELECT plan, uid FROM plans WHERE spec = ? AND clips = ? AND seed = ?", (spec, clips_wanted, seed)
    ).fetchone()
    return found


def _mark(connection: sqlite3.Connection, plan: int, known: Collection[str], overlap: float) -> None:
    """Say which clips everybody is shown, and which the dataset no longer has."""
    keys = [row["key"] for row in connection.execute("SELECT key FROM planned WHERE plan = ?", (plan,))]
    connection.executemany(
        "UPDATE planned SET shared = ?, gone = ? WHERE plan = ? AND key = ?",
        [(is_shared(key, overlap), key not in known, plan, key) for key in keys],
    )


def _take(connection: sqlite3.Connection, plan: int, key: str, labeller: str, now_s: float) -> None:
    connection.execute(
        "INSERT INTO dealt VALUES (?, ?, ?, ?) ON CONFLICT (plan, key) DO UPDATE "
        "SET labeller = excluded.labeller, until_s = excluded.until_s "
        "WHERE labeller = excluded.labeller OR until_s <= ?",
        (plan, key, labeller, now_s + DEALT_FOR_S, now_s),
    )
