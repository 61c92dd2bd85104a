"""Questions to the catalog: what is answered, and what nobody gets out of it or into it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from shards.errors import UserError
from shards.query import keys_where, query, read_views
from shards.store import Store

VIEWS = {
    "videos": pa.table({"video_id": ["a", "b"], "title": ["one", "two"]}),
    "clips": pa.table(
        {"key": ["a_1", "a_0", "b_0"], "video_id": ["a", "a", "b"], "motion": [0.1, None, 0.3]}
    ),
}


def test_both_views_are_there_and_can_be_joined() -> None:
    sql = "SELECT title, count(*) AS n FROM clips JOIN videos USING (video_id) GROUP BY 1 ORDER BY 1"
    answer = query(VIEWS, sql)
    assert (answer.columns, answer.rows, answer.more) == (("title", "n"), (("one", 2), ("two", 1)), False)


@pytest.mark.parametrize(
    "sql", ["FROM clips", "SELECT * FROM clips;", "TABLE clips", "WITH c AS (FROM clips) FROM c"]
)
def test_whatever_reads_is_answered(sql: str) -> None:
    assert len(query(VIEWS, sql).rows) == 3


def test_what_is_over_the_limit_is_counted() -> None:
    answer = query(VIEWS, "SELECT * FROM range(5000)", limit=7)
    assert ([row[0] for row in answer.rows], answer.more) == (list(range(7)), True)
    assert query(VIEWS, "FROM clips", limit=0).more
    assert not query(VIEWS, "FROM clips", limit=3).more


REFUSED = (
    "COPY clips TO '{place}/out.csv'",
    "COPY (SELECT 1) TO '{place}/out.parquet'",
    "ATTACH '{place}/out.db'",
    "ATTACH '{place}/out.db' AS x (TYPE sqlite)",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "PRAGMA enable_external_access",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "EXPORT DATABASE '{place}/out'",
    "IMPORT DATABASE '{place}'",
    "CREATE TABLE x AS FROM clips",
    "CREATE SECRET (TYPE s3)",
    "DROP VIEW clips",
    "DELETE FROM clips",
    "EXPLAIN ANALYZE COPY clips TO '{place}/out.csv'",
    "CALL pragma_version()",
    "FROM clips; COPY clips TO '{place}/out.csv'",
    "FROM clips; FROM videos",
    "",
    "-- nothing",
    "SELEC 1",
    "SELECT no_such_column FROM clips",
    "SELECT * FROM read_csv('{place}/secret.csv')",
    "SELECT * FROM read_text('{place}/secret.csv')",
    "SELECT * FROM read_blob('{place}/*')",
    "SELECT * FROM '{place}/secret.csv'",
    "SELECT * FROM parquet_scan('{place}/secret.parquet')",
    "SELECT * FROM sniff_csv('{place}/secret.csv')",
    "SELECT * FROM glob('{place}/*')",
    "SELECT * FROM query('COPY clips TO ''{place}/out.csv''')",
    "SELECT getenv('HOME')",
    "SELECT * FROM VIEWS_OF_PYTHON",
    "SELECT 1/0::INT FROM clips WHERE error('x')",
)


@pytest.mark.parametrize("sql", REFUSED)
def test_nothing_outside_is_reached_and_nothing_is_written(sql: str, tmp_path: Path) -> None:
    VIEWS_OF_PYTHON = VIEWS["clips"]  # noqa: F841, N806 - DuckDB would find it by this name
    (tmp_path / "secret.csv").write_text("password\nhunter2\n")
    with pytest.raises(UserError) as refused:
        query(VIEWS, sql.format(place=tmp_path))
    assert len(str(refused.value).splitlines()) == 1
    assert "hunter2" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]
    assert len(query(VIEWS, "FROM clips").rows) == 3


def test_a_wrong_column_is_answered_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"clips has key, video_id, motion"):
        query(VIEWS, "SELECT no_such FROM clips")


def test_keys_by_a_predicate_come_in_order_and_null_is_no() -> None:
    assert keys_where(VIEWS, "true") == ["a_0", "a_1", "b_0"]
    assert keys_where(VIEWS, "motion > 0.05") == ["a_1", "b_0"]
    assert keys_where(VIEWS, "video_id IN (SELECT video_id FROM videos WHERE title = 'two')") == ["b_0"]


@pytest.mark.parametrize(
    "predicate",
    ["", "true; DROP VIEW clips", "true) UNION (SELECT title FROM videos", "no_such > 1", "key", "true, true",
     "EXISTS (FROM read_csv('/etc/passwd'))"],
)  # fmt: skip
def test_a_predicate_is_one_and_nothing_more(predicate: str) -> None:
    with pytest.raises(UserError) as refused:
        keys_where(VIEWS, predicate)
    assert len(str(refused.value).splitlines()) == 1


def test_the_newest_decisions_are_asked_or_those_of_a_version(hostile: Path) -> None:
    store = Store(hostile)
    for views in (read_views(store), read_views(store, 1)):
        assert query(views, "SELECT count(*), count(shard) FROM clips").rows == ((7, 6),)
        assert query(views, "SELECT count(*) FROM videos").rows == ((5,),)
    with pytest.raises(UserError, match="no version 2"):
        read_views(store, 2)
    with pytest.raises(UserError, match="nothing is published there"):
        read_views(Store(hostile / "shards"))
