"""A Parquet object: whether it can be read, and which column, rows or bytes of it cannot.

Nothing in it is believed before it was looked at: what a footer declares is held against the object's size,
pages are read one column of one group of rows at a time, and each page has a checksum. What those do not
cover, the footer and the heads of pages, is compared with what the same rows become when they are written
again.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from shards.checks.faults import Fault, told
from shards.checks.pages import check_pages
from shards.store import PARQUET_SETTINGS, ROW_GROUP_ROWS, Store
from shards.tables import as_written

# Another release of the library may write the same rows otherwise.
_WRITER = re.compile(r"parquet-cpp-arrow version \d+\.\d+\.\d+")
_WRITER_NOW = f"parquet-cpp-arrow version {pa.cpp_version}"

# In one page a column is written alike however its rows were batched; the library's own bounds are higher.
_PAGE_BYTES = 1_000_000
_PAGE_ROWS = 20_000

# Of rot there are few bytes; where many differ, the rows were written in other batches.
_FEW_BYTES = 64


def check_table(
    store: Store, name: str, schema: pa.Schema | None = None, settings: Mapping[str, Any] | None = None
) -> Iterator[Fault]:
    """Read a Parquet object, a column of a group of rows at a time.

    Args:
        schema: the columns it must have; metadata is of no account.
        settings: what it was written with besides `PARQUET_SETTINGS`.
    """
    with store.open(name) as file:
        faults = list(check_pages(file, name))
        yield from faults
        if faults:
            return
        try:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
        # Readers of damaged bytes raise whatever they stumble over.
        except Exception as error:
            yield Fault(name, f"its footer cannot be read: {told(error)}", "footer")
            return
        with parquet:
            faults += _check_schema(name, parquet, schema)
            faults += _check_columns(name, parquet)
            yield from faults
            if not faults:
                yield from _check_rewritten(name, parquet, file, settings or {})


def _check_schema(name: str, parquet: pq.ParquetFile, schema: pa.Schema | None) -> Iterator[Fault]:
    if schema and not as_written(parquet.schema_arrow).equals(schema):
        odd = set(map(str, as_written(parquet.schema_arrow))) ^ set(map(str, schema))
        what = f"its columns are not those they should be: {', '.join(sorted(odd))[:200] or 'another order'}"
        yield Fault(name, what, "footer")


def _check_columns(name: str, parquet: pq.ParquetFile) -> Iterator[Fault]:
    for number in range(parquet.num_row_groups):
        for column in parquet.schema_arrow.names:
            try:
                parquet.read_row_group(number, [column], use_threads=False).validate(full=True)
            except Exception as error:
                at = f"row group {number}, column {column}"
                yield Fault(name, f"cannot be read: {told(error)}", at)


def _check_rewritten(
    name: str, parquet: pq.ParquetFile, file: BinaryIO, settings: Mapping[str, Any]
) -> Iterator[Fault]:
    """What stands between the pages, against what is written for the same rows."""
    size = file.seek(0, io.SEEK_END)
    writer_was = parquet.metadata.created_by
    if _WRITER.fullmatch(writer_was) and writer_was != _WRITER_NOW:
        return
    # Rows that were read from Parquet and written on keep its name for what is in a list; and what was
    # written before pages had checksums has none.
    known = {**PARQUET_SETTINGS, **settings}
    closest: _Compared | None = None
    for schema, checksums in product((as_written(parquet.schema_arrow), parquet.schema_arrow), (True, False)):
        compared = _rewrite(parquet, file, schema, known | {"write_page_checksum": checksums})
        if compared.written == size and not compared.places:
            return
        if closest is None or compared.distance(size) < closest.distance(size):
            closest = compared
    assert closest
    groups = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    one_page = size < _PAGE_BYTES and max(groups, default=0) <= _PAGE_ROWS
    few = closest.written == size and len(closest.places) <= _FEW_BYTES
    if one_page or few:
        start = closest.places[0] if closest.places else min(closest.written, size)
        end = closest.places[-1] + 1 if few else max(size, start + 1)
        told = f"{len(closest.places)} bytes are" if few else "from here on it is"
        yield Fault(name, f"{told} not what is written for its rows", None, start, end)


def _rewrite(
    parquet: pq.ParquetFile, file: BinaryIO, schema: pa.Schema, settings: Mapping[str, Any]
) -> _Compared:
    compared = _Compared(file)
    with pq.ParquetWriter(compared, schema, **settings) as writer:
        for number in range(parquet.num_row_groups):
            rows = parquet.read_row_group(number, use_threads=False)
            columns = [column.cast(field.type) for column, field in zip(rows.columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP_ROWS)
    return compared


class _Compared(io.RawIOBase):
    """What is written to it is compared with a file's bytes and let go."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.written = 0
        self.places: list[int] = []

    def distance(self, size: int) -> tuple[int, int]:
        """How far what was written is from the file of this size."""
        return abs(self.written - size), len(self.places)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.written

    def write(self, data: Any) -> int:
        """Note where it differs, as long as that is in few places."""
        new = bytes(data)
        place = self._file.tell()
        self._file.seek(self.written)
        old = self._file.read(len(new))
        self._file.seek(place)
        if old != new and len(self.places) <= _FEW_BYTES:
            differ = (n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
            for number in differ:
                self.places.append(self.written + number)
                if len(self.places) > _FEW_BYTES:
                    break
        self.written += len(new)
        return len(new)
