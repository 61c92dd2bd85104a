"""Questions in SQL about the catalog, asked of DuckDB with everything outside of it shut off.

Two views are there, `videos` and `clips`, with the columns that the catalog has. What asks is a
person's text, and what answers may be a stranger's: one statement that reads is admitted, and it
reaches neither files, nor the network, nor the settings, nor extensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from shards.catalog import CLIPS, CURATED, VIDEOS, read_catalog, read_clips
from shards.errors import UserError
from shards.manifest import read_version
from shards.store import Store

_SHUT_OFF: dict[str, str | bool | int | float | list[str]] = {
    "allow_community_extensions": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "enable_external_access": False,
    # A name in the SQL is that of a view, never that of a variable of this program.
    "python_enable_replacements": False,
    "threads": 1,
}
_FETCHED_ROWS = 1024


@dataclass(frozen=True)
class Answer:
    """The rows of an answer.

    Attributes:
        columns: their names.
        rows: the first of them, each with a value a column.
        more: whether there are more.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


def read_views(store: Store, number: int | None = None) -> dict[str, pa.Table]:
    """What is asked about: `videos` and `clips`.

    Args:
        number: of the version whose catalog it is; by default the newest decisions, published or not.

    Raises:
        UserError: nothing was curated yet, or there is no such version.
    """
    if number is None and store.exists(CURATED[VIDEOS]):
        clips = read_clips(store)
        if clips is not None:
            return {VIDEOS: store.read_table(CURATED[VIDEOS]), CLIPS: clips}
    return {kind: table for kind, (_, table) in read_catalog(store, read_version(store, number)).items()}


@contextmanager
def open_views(views: dict[str, pa.Table]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database that holds these views, and from which nothing else can be reached."""
    with (
        # What does not fit into memory would else be put into a folder that happens to be the current one.
        TemporaryDirectory(prefix="genieset-") as spilled,
        duckdb.connect(config=_SHUT_OFF | {"temp_directory": spilled}) as database,
    ):
        for name, table in views.items():
            database.register(name, table)
        database.execute("SET lock_configuration = true")
        yield database


def query(views: dict[str, pa.Table], sql: str, limit: int | None = None) -> Answer:
    """Ask one question.

    Args:
        limit: how many rows are asked for. All by default.

    Raises:
        UserError: it is not one SQL statement that reads, or DuckDB cannot answer it.
    """
    with open_views(views) as database, _told(sql, views):
        statements = database.extract_statements(sql)
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise UserError(f"{sql!r}: give one SELECT; the catalog is only read")
        result = database.execute(statements[0])
        columns = tuple(column[0] for column in result.description)
        rows: list[tuple[Any, ...]] = []
        # One more than is asked for tells whether there are more; a join may have more than can be counted.
        while limit is None or len(rows) <= limit:
            some = result.fetchmany(_FETCHED_ROWS if limit is None else limit + 1 - len(rows))
            if not some:
                break
            rows += some
    return Answer(columns, tuple(rows[:limit]), limit is not None and len(rows) > limit)


def keys_where(views: dict[str, pa.Table], predicate: str) -> list[str]:
    """The keys of the clips that fulfil an SQL predicate, in their order; null is no.

    Raises:
        UserError: it is not an SQL predicate on the columns of `clips`.
    """
    with _fulfilling(views, predicate) as found:
        return [key for (key,) in found.select("key").order("key").fetchall()]


def numbers_where(views: dict[str, pa.Table], predicate: str, column: str) -> np.ndarray[Any, Any]:
    """A column of whole numbers of the clips that fulfil an SQL predicate, in no order; null is no.

    Raises:
        UserError: as `keys_where`.
    """
    with _fulfilling(views, predicate) as found:
        return np.asarray(found.select(column).fetchnumpy()[column])


@contextmanager
def _fulfilling(views: dict[str, pa.Table], predicate: str) -> Iterator[duckdb.DuckDBPyRelation]:
    with open_views(views) as database, _told(predicate, views):
        fulfilled = duckdb.SQLExpression(predicate).cast("BOOLEAN")
        yield database.view(CLIPS).filter(fulfilled)


@contextmanager
def _told(sql: str, views: dict[str, pa.Table]) -> Iterator[None]:
    """What DuckDB has against an SQL text, in one line; where it knows no such name, those that there are."""
    try:
        yield
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except (duckdb.Error, RuntimeError) as error:
        reason = (str(error).splitlines() or ["no reason is given"])[0]
        known = "; ".join(f"{name} has {', '.join(table.column_names)}" for name, table in views.items())
        unknown = isinstance(error, duckdb.BinderException | duckdb.CatalogException)
        raise UserError(f"{sql!r}: {reason}" + (f"; {known}" if unknown else "")) from None
