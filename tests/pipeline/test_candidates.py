from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest

from pipeline import candidates
from pipeline.opt_out import OptOut
from pipeline.sources.base import Fetched, Found, Source
from shards.records import CANDIDATE_SCHEMA, Video
from shards.store import Store

MILLION = 1_000_000


class Told(Source):
    """A source that finds what it is told."""

    kind: Literal["told"] = "told"
    name: str
    found: tuple[Found, ...] = ()

    @property
    def hash(self) -> str:
        return self.name

    def discover(
        self,
        problem: Callable[[str], None],
        known: Container[str] = (),
        pause_s: Callable[[str], float] | None = None,
    ) -> Iterator[Found]:
        yield from self.found

    def fetch(self, video: Video, folder: Path, opt_out: OptOut | None = None) -> Fetched:
        pytest.fail("what is only discovered is not fetched")


def found(video_id: str, place: str, info: dict[str, object] | None = None, **fields: str) -> Found:
    video = Video(video_id, "told", place, found_at=(place,), **fields)  # type: ignore[arg-type]
    return Found(video, json.dumps(info) if info else None)


def discover(store: Store, *seen: Found, name: str = "one") -> Told:
    source = Told(name=name, found=seen)
    candidates.discover(store, source, pytest.fail)
    return source


def test_what_was_found_stays_found_and_new_words_replace_old_ones(tmp_path: Path) -> None:
    store = Store(tmp_path)
    discover(
        store,
        found("x-2", "a", {"tags": ["t"], "likes": 1}, title="Old", description="Long"),
        found("x-1", "a"),
    )
    source = discover(store, found("x-2", "b", {"likes": 2}, title="New"), found("x-3", "b"))
    rows = {row["video_id"]: row for row in candidates.read_table(store, [source]).to_pylist()}
    assert list(rows) == ["x-1", "x-2", "x-3"]
    assert (rows["x-2"]["title"], rows["x-2"]["description"]) == ("New", "Long")
    assert json.loads(rows["x-2"]["info"]) == {"tags": ["t"], "likes": 2}
    assert rows["x-2"]["found_at"] == ["a", "b"]
    assert candidates.discover(store, source, pytest.fail) == 0


def test_the_same_video_found_twice_at_once_is_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    source = discover(store, found("x-1", "a", title="A"), found("x-1", "b"))
    (row,) = candidates.read_table(store, [source]).to_pylist()
    assert (row["title"], row["found_at"]) == ("A", ["a", "b"])


def test_of_two_sources_the_first_tells_and_owns_what_both_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = discover(store, found("x-1", "a", title="One"), found("x-2", "a"), name="one")
    two = discover(store, found("x-1", "b", title="Two"), found("x-0", "b"), name="two")
    rows = candidates.read_table(store, [one, two]).to_pylist()
    assert [(row["video_id"], row["title"]) for row in rows] == [("x-0", None), ("x-1", "One"), ("x-2", None)]
    assert rows[1]["found_at"] == ["a", "b"]
    owners = candidates.source_of(store, [one, two])
    assert {video_id: source.hash for video_id, source in owners.items()} == {
        "x-0": "two",
        "x-1": "one",
        "x-2": "one",
    }


def test_a_table_without_info_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    source = Told(name="one")
    old = pa.Table.from_pylist([found("x-1", "a").video.as_row()], schema=CANDIDATE_SCHEMA)
    store.put_table("candidates/one.parquet", old)
    assert candidates.read_table(store, [source])["info"].to_pylist() == [None]
    assert candidates.read_table(store, []).schema == candidates.TABLE_SCHEMA


def test_a_million_candidates_are_read_as_columns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ids = pa.array([f"x-{number:07d}" for number in range(MILLION)])
    nothing = {name: pa.nulls(MILLION) for name in candidates.TABLE_SCHEMA.names}
    places = pa.ListArray.from_arrays(pa.array(range(MILLION + 1), pa.int32()), ids)
    columns = nothing | {"video_id": ids, "source": ids, "url": ids, "found_at": places}
    table = pa.table(columns).cast(candidates.TABLE_SCHEMA)
    source, twice = Told(name="many"), Told(name="twice")
    candidates.write_table(store, source, table)
    candidates.write_table(store, twice, table.slice(MILLION - 10))
    read = candidates.read_table(store, [source, twice])
    assert len(read) == MILLION
    assert read["video_id"].equals(pa.chunked_array([ids]))
    assert candidates.discover(store, Told(name="many", found=(found("x-0000007", "new"),)), pytest.fail) == 0
