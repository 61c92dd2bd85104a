"""Records that only accumulate: commits, attempts.

A record is written once, whole, as a small object of its own, and never changed. A million small
objects are slow to list and to read, so they are gathered by the thousand into Parquet segments, and
then removed; a reader takes the segments and the tail that is not gathered yet.

Whoever gathers may be killed, or be one of two: a row may then stand in two segments, or in a segment
and in the tail. It is the same row, and readers go by its first appearance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from shards.errors import UserError
from shards.store import Store

SEGMENT_OBJECTS = 1000
"""So many objects make a segment."""

_SUFFIX = ".json"


class Journal:
    """The records under one folder of a dataset.

    Args:
        schema: the columns of a row; an object holds one or more rows, a line of JSON each.
    """

    def __init__(self, store: Store, folder: str, schema: pa.Schema) -> None:
        self._store = store
        self._folder = folder
        self._segments = f"{folder}/segments"
        self._schema = schema

    def create(self, name: str, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Write an object of rows unless the name is taken; returns whether it was written."""
        lines = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
        return self._store.create(self._object(name), lines.encode())

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name in the tail; one that was gathered is not seen."""
        return self._store.exists(self._object(name))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, those of segments first.

        Raises:
            UserError: an object is damaged.
        """
        while True:
            # In this order: what leaves the tail meanwhile is in a segment by then.
            tail = self._tail()
            segments = self._store.list(self._segments)
            try:
                newest = self._rows(tail)
            except FileNotFoundError:
                continue  # somebody gathered it between the two
            tables = [self._store.read_table(name, list(columns) if columns else None) for name in segments]
            if columns:
                newest = newest.select(columns)
            return pa.concat_tables([*tables, newest])

    def news(self, known: set[str], columns: Sequence[str]) -> pa.Table:
        """The rows of the segments that are not known yet, which are then."""
        fresh = [name for name in self._store.list(self._segments) if name not in known]
        known.update(fresh)
        tables = [self._store.read_table(name, list(columns)) for name in fresh]
        return pa.concat_tables([self._schema.empty_table().select(list(columns)), *tables])

    def compact(self) -> int:
        """Gather every full thousand of the tail into a segment; returns how many segments were written."""
        tail = self._tail()
        written = 0
        for start in range(0, len(tail) - SEGMENT_OBJECTS + 1, SEGMENT_OBJECTS):
            names = tail[start : start + SEGMENT_OBJECTS]
            try:
                rows = self._rows(names)
            except FileNotFoundError:
                break  # another one gathers, too
            digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
            self._store.put_table(f"{self._segments}/{digest}.parquet", rows)
            for name in names:
                self._store.remove(name)
            written += 1
        return written

    def _object(self, name: str) -> str:
        return f"{self._folder}/{name}{_SUFFIX}"

    def _tail(self) -> list[str]:
        return [name for name in self._store.list(self._folder) if name.endswith(_SUFFIX)]

    def _rows(self, names: Iterable[str]) -> pa.Table:
        rows: list[dict[str, Any]] = []
        for name in names:
            try:
                lines = [json.loads(line) for line in self._store.read(name).splitlines()]
                if not all(isinstance(line, dict) for line in lines):
                    raise ValueError("not a record a line")
                rows += lines
            except ValueError as error:
                raise UserError(
                    f"{self._store.where(name)}: is damaged ({error}); delete it, and what it stands for is "
                    "done anew"
                ) from error
        try:
            return pa.Table.from_pylist(rows, schema=self._schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UserError(
                f"{self._store.where(self._folder)}: a record is damaged ({error}); delete it, and what it "
                "stands for is done anew"
            ) from error
