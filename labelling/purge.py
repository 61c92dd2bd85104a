"""Take what was said of some videos out of the database of labels, so that no byte of it is left there.

What SQLite deletes stays in free pages, and what was written stays in its log: so deleted content is
overwritten, the file is written anew without free pages, and the log is emptied.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from labelling.database import DATABASE, Database
from shards.errors import UserError
from shards.mentions import Mentions
from shards.store import Store

_BESIDE = ("", "-wal", "-shm", "-journal")
_KEYED = ("planned", "answers", "dealt")


def find_labels(store: Store, mentions: Mentions) -> list[str]:
    """The objects of the database in whose bytes one of the videos is named."""
    names = [DATABASE + suffix for suffix in _BESIDE]
    return [name for name in names if store.exists(name) and mentions.in_object(store, name)]


def purge_labels(store: Store, mentions: Mentions) -> None:
    """Purge the database, if one of the videos is named in it.

    In a bucket lies a copy of one: it is fetched, purged, and put back.

    Raises:
        UserError: the database is damaged, or in use.
    """
    if not find_labels(store, mentions):
        return
    if not store.is_remote:
        _purge(store, mentions)
    else:
        with tempfile.TemporaryDirectory(prefix="genieset-") as folder:
            local = Store(folder)
            for name in (DATABASE + suffix for suffix in _BESIDE if suffix != "-shm"):
                if store.exists(name):
                    local.put(name, store.read(name))
            _purge(local, mentions)
            store.put(DATABASE, local.read(DATABASE))
            for suffix in _BESIDE[1:]:
                store.remove(DATABASE + suffix)
    if left := find_labels(store, mentions):
        raise UserError(
            f"{store.where(left[0])}: still holds what was said, since somebody is at work with it; stop "
            "`genieset label`, and run the same command again"
        )


def _purge(store: Store, mentions: Mentions) -> None:
    path = store.path(DATABASE)
    with _told(str(path)):
        with Database(store) as database, database.transaction() as connection:
            _delete(connection, mentions)
        # A connection of its own: neither can be done within a transaction.
        connection = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
        try:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()


_PATIENCE_S = 30.0


def _delete(connection: sqlite3.Connection, mentions: Mentions) -> None:
    connection.execute("PRAGMA secure_delete = ON")
    connection.create_function("named", 1, lambda text: mentions.in_text(str(text or "")), deterministic=True)
    for table in _KEYED:
        connection.execute(f"DELETE FROM {table} WHERE named(key)")  # noqa: S608
    connection.execute("DELETE FROM imported WHERE named(key) OR named(video_id)")
    # What was said of others may name them too, and so may the strata that others were drawn from.
    for table in ("answers", "imported"):
        connection.execute(f"UPDATE {table} SET note = '' WHERE named(note)")  # noqa: S608
    connection.execute("UPDATE planned SET stratum = 'none' WHERE named(stratum)")


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise UserError(f"{path}: cannot be purged ({error}); stop `genieset label`, or mend it") from None
