"""The SQLite file that holds plans, answers and who has which clip: `labels/labels.sqlite3` of a dataset.

SQLite, since an answer must be on the disk before its key press is answered, and since several servers
may write at once. Nothing else of a dataset is changed in place.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shards.errors import UserError
from shards.local_store import sync_folder
from shards.store import Store

DATABASE = "labels/labels.sqlite3"

_VERSION = 2
_PATIENCE_S = 30.0

_TABLES = """
CREATE TABLE plans (
    plan INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,     -- tells pages of one plan from those of another
    spec TEXT NOT NULL, clips INTEGER NOT NULL, seed INTEGER NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (spec, clips, seed)
);
CREATE TABLE planned (
    plan INTEGER NOT NULL REFERENCES plans, position INTEGER NOT NULL,
    key TEXT NOT NULL, stratum TEXT NOT NULL, probability REAL,
    shared INTEGER NOT NULL,      -- every labeller is shown it
    gone INTEGER NOT NULL,        -- the dataset no longer has it
    PRIMARY KEY (plan, position), UNIQUE (plan, key)
);
CREATE TABLE answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,      -- made by the page, so that an answer sent twice is one
    plan INTEGER NOT NULL REFERENCES plans,
    key TEXT NOT NULL, labeller TEXT NOT NULL,
    label INTEGER CHECK (label BETWEEN 1 AND 5),  -- null: skipped
    note TEXT NOT NULL, at TEXT NOT NULL,
    undone_at TEXT
);
CREATE INDEX standing ON answers (key, labeller) WHERE undone_at IS NULL;
CREATE INDEX of_labeller ON answers (labeller, plan, number) WHERE undone_at IS NULL;
CREATE TABLE dealt (
    plan INTEGER NOT NULL REFERENCES plans, key TEXT NOT NULL,
    labeller TEXT NOT NULL, until_s REAL NOT NULL,
    PRIMARY KEY (plan, key)
);
"""

_SINCE_2 = """
CREATE TABLE imported (           -- what a labels file said that was made elsewhere
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    video_id TEXT NOT NULL,
    key TEXT NOT NULL,            -- empty: of the whole video
    labeller TEXT NOT NULL, label INTEGER NOT NULL CHECK (label BETWEEN 1 AND 5),
    note TEXT NOT NULL, at TEXT NOT NULL,
    UNIQUE (key, video_id, labeller, label, at)
);
"""


class Database:
    """The labels of a dataset, for any number of threads and processes. A context manager.

    Raises:
        UserError: the dataset lies in a bucket, or the file is damaged, of a later Genieset, or
            cannot be written.
    """

    def __init__(self, store: Store) -> None:
        if store.is_remote:
            raise UserError(
                f"dataset {store.url}: labels are written to a database, which needs a local folder; copy "
                "the dataset's catalog/, packs/ and labels/ into one, label there, and copy labels/ back"
            )
        path = store.path(DATABASE)
        self._where = path
        self._lock = threading.Lock()
        store.folder.make_folder(path.parent)
        try:
            # Autocommit: transactions begin where they are said to, and take the write lock at once.
            self._connection = sqlite3.connect(
                path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._set_up()
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise UserError(f"{path}: cannot be used ({error}); bring it back or move it away") from None
        sync_folder(path.parent)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and on the disk when it is left; writers take turns."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the whole, whatever is written meanwhile."""
        with self._lock:
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("ROLLBACK")

    def _set_up(self) -> None:
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # In WAL the default syncs only at checkpoints, and a power cut would take answers along.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        with self.transaction() as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise UserError(f"{self._where}: was written by a later Genieset; use that one")
            if version < _VERSION:
                for statement in ((_TABLES if version == 0 else "") + _SINCE_2).split(";\n"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {_VERSION}")
