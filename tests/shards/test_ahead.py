"""Reading ahead: in order, some at once, and never too many or too much."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from shards.ahead import AT_ONCE, MOST_BYTES, in_order
from shards.store import Store
from shards.tables import read_tables

BUCKET = Store("s3://bucket/set")  # of which nothing is asked


def test_several_are_under_way_and_come_in_order() -> None:
    together = threading.Barrier(AT_ONCE, timeout=60)

    def wait(number: int) -> int:
        together.wait()
        return number

    assert list(in_order(BUCKET, wait, range(5 * AT_ONCE))) == list(range(5 * AT_ONCE))


def test_no_more_is_held_than_there_is_room_for() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            begun.append(number)
            yield number

    third = in_order(BUCKET, lambda n: n, items(), lambda _: MOST_BYTES // 3)
    for number in range(20):
        assert next(third) == number
        # Three are held, one is at the door.
        assert len(begun) <= number + 4
    begun.clear()
    alone = in_order(BUCKET, lambda n: n, items(), lambda _: 2 * MOST_BYTES)
    assert list(alone) == list(range(20))


@pytest.mark.parametrize("place", ["bucket", "folder"])
def test_what_is_raised_is_raised_in_its_turn(place: str, tmp_path: Path) -> None:
    given = in_order(BUCKET if place == "bucket" else Store(tmp_path), lambda n: 10 // n, [5, 2, 0, 1])
    assert [next(given), next(given)] == [2, 5]
    with pytest.raises(ZeroDivisionError):
        next(given)


def test_a_folder_is_read_by_nobody_else(tmp_path: Path) -> None:
    threads = in_order(Store(tmp_path), lambda _: threading.get_ident(), range(3))
    assert set(threads) == {threading.get_ident()}


def test_many_tables_are_read_several_at_a_time() -> None:
    together = threading.Barrier(2, timeout=60)

    class Waiting(Store):
        def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
            together.wait()
            return pa.table({"key": [name]})

    names = [f"packs/{number}.parquet" for number in range(6)]
    rows = read_tables(Waiting(BUCKET.url), names, pa.schema([("key", pa.string())]))
    assert rows["key"].to_pylist() == names
    assert rows["object"].to_pylist() == list(range(6))
