"""Tables and Parquet: many small ones as one, and what one was before it was written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shards.ahead import in_order
from shards.store import Store

# So many small tables are in memory before they become one: a table takes up more room than its rows.
_GATHERED = 1000


def read_tables(store: Store, names: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Columns of many Parquet objects, one below the other.

    Args:
        schema: the columns to be read; their types matter only where there are no objects.

    Returns:
        The columns, besides `object`, the number of the object among these, and `row`, the place in it:
        both int32.
    """
    gathered = [] if names else [_numbered(schema.empty_table(), 0, [])]
    for first in range(0, len(names), _GATHERED):
        some = names[first : first + _GATHERED]
        tables = list(in_order(store, lambda name: store.read_table(name, schema.names), some))
        rows = pa.concat_tables(tables).combine_chunks()
        gathered.append(_numbered(rows, first, [len(table) for table in tables]))
    return pa.concat_tables(gathered).combine_chunks()


def parse_table(data: bytes, columns: Sequence[str]) -> pa.Table:
    """Columns of a Parquet object of which all bytes are there and known to be whole."""
    with pq.ParquetFile(pa.BufferReader(data)) as parquet:
        return parquet.read(columns=list(columns), use_threads=False)


def _numbered(rows: pa.Table, first: int, counts: list[int]) -> pa.Table:
    number = np.repeat(np.arange(first, first + len(counts), dtype=np.int32), counts)
    starts = np.cumsum([0, *counts], dtype=np.int32)[:-1]
    row = np.arange(len(rows), dtype=np.int32) - np.repeat(starts, counts)
    return rows.append_column("object", pa.array(number)).append_column("row", pa.array(row, pa.int32()))


def as_written(schema: pa.Schema) -> pa.Schema:
    """The schema of the table from which a Parquet object was written.

    Arrow calls what a list holds `item`, and `element` where it is read from Parquet; the name is written.
    """
    return pa.schema([field.with_type(_written(field.type)) for field in schema], schema.metadata)


def _written(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_written(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        item = kind.value_field.with_name("item").with_type(_written(kind.value_type))
        return pa.list_(item, kind.list_size if pa.types.is_fixed_size_list(kind) else -1)
    return kind
