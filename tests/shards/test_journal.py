"""Records that only accumulate: none is lost, whoever gathers them, and whenever that one dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from shards.errors import UserError
from shards.journal import SEGMENT_OBJECTS, Journal
from shards.store import Store

SCHEMA = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("number", pa.int64())])


def journal(folder: Path) -> Journal:
    return Journal(Store(str(folder)), "records", SCHEMA)


def fill(folder: Path, count: int, start: int = 0) -> set[str]:
    names = {f"r{number:06d}" for number in range(start, start + count)}
    (folder / "records").mkdir(parents=True, exist_ok=True)
    for name in names:
        # As `create` writes them, without a sync for each of thousands.
        (folder / "records" / f"{name}.json").write_text(f'{{"name": "{name}", "number": {int(name[1:])}}}\n')
    return names


def names_in(folder: Path) -> set[str]:
    return set(journal(folder).read()["name"].to_pylist())


def tail(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder / "records") if name.endswith(".json")]


def test_what_is_created_is_read_and_created_once(tmp_path: Path) -> None:
    records = journal(tmp_path)
    assert records.create("a", [{"name": "one", "number": 1}, {"name": "two", "number": None}])
    assert not records.create("a", [{"name": "other", "number": 9}])
    assert records.read().to_pylist() == [{"name": "one", "number": 1}, {"name": "two", "number": None}]
    assert records.read(["number"]).to_pylist() == [{"number": 1}, {"number": None}]


def test_an_empty_journal_has_no_rows(tmp_path: Path) -> None:
    assert journal(tmp_path).read().schema == SCHEMA
    assert journal(tmp_path).compact() == 0


def test_full_thousands_are_gathered_and_nothing_else(tmp_path: Path) -> None:
    names = fill(tmp_path, 2 * SEGMENT_OBJECTS + 7)
    assert journal(tmp_path).compact() == 2
    assert len(tail(tmp_path)) == 7
    assert len(list((tmp_path / "records" / "segments").iterdir())) == 2
    assert names_in(tmp_path) == names
    assert journal(tmp_path).compact() == 0


def test_a_gatherer_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """Killed between the segment and the removal of what it holds, and midway through the removal."""
    names = fill(tmp_path, SEGMENT_OBJECTS)
    for removals in (0, 300):
        child = os.fork()
        if not child:
            _die_after(removals)
            journal(tmp_path).compact()
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert names_in(tmp_path) == names
        names |= fill(tmp_path, removals, start=10_000 * (removals + 1))
    journal(tmp_path).compact()
    assert tail(tmp_path) == []
    assert names_in(tmp_path) == names


def _die_after(removals: int) -> None:
    left = iter(range(removals))

    def remove(store: Store, name: str) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        store.path(name).unlink()

    Store.remove = remove  # type: ignore[method-assign]


def test_two_gather_and_a_third_reads(tmp_path: Path) -> None:
    names = fill(tmp_path, 3 * SEGMENT_OBJECTS)
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    gatherers = [threading.Thread(target=journal(tmp_path).compact) for _ in range(2)]
    try:
        for gatherer in gatherers:
            gatherer.start()
        while any(gatherer.is_alive() for gatherer in gatherers):
            assert names_in(tmp_path) == names
    finally:
        sys.setswitchinterval(switch_s)
        for gatherer in gatherers:
            gatherer.join()
    journal(tmp_path).compact()
    assert names_in(tmp_path) == names
    assert len(tail(tmp_path)) < SEGMENT_OBJECTS


@pytest.mark.parametrize("body", [b"{", b"[1]\n", b"\xff\n", b'{"name": 1}\n'])
def test_a_damaged_record_is_one_line(tmp_path: Path, body: bytes) -> None:
    fill(tmp_path, 1)
    (tmp_path / "records" / "bad.json").write_bytes(body)
    with pytest.raises(UserError, match="is damaged") as error:
        journal(tmp_path).read()
    assert "\n" not in str(error.value)
