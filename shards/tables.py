"""Many small tables as one: the indexes of all packs, the scores of all packs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

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
        tables = [store.read_table(name, schema.names) for name in names[first : first + _GATHERED]]
        rows = pa.concat_tables(tables).combine_chunks()
        gathered.append(_numbered(rows, first, [len(table) for table in tables]))
    return pa.concat_tables(gathered).combine_chunks()


def _numbered(rows: pa.Table, first: int, counts: list[int]) -> pa.Table:
    number = np.repeat(np.arange(first, first + len(counts), dtype=np.int32), counts)
    starts = np.cumsum([0, *counts], dtype=np.int32)[:-1]
    row = np.arange(len(rows), dtype=np.int32) - np.repeat(starts, counts)
    return rows.append_column("object", pa.array(number)).append_column("row", pa.array(row, pa.int32()))
