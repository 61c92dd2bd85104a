"""What is staged: packs with their indexes, wide frames and scores. The next version is made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shards.checks.faults import Fault, first_of, guarded
from shards.checks.layout import row_problem
from shards.checks.members import check_order, rows_of_tar
from shards.checks.shard import rows_differ
from shards.checks.table import check_table
from shards.checks.tar import check_tar
from shards.index import index_name
from shards.names import HASH_CHARS
from shards.records import INDEX_SCHEMA, Placed
from shards.store import Store
from shards.wide import WIDE_SCHEMA, WIDE_SETTINGS, wide_name


@dataclass(frozen=True)
class StagedPack:
    """A pack, and what should lie beside it.

    Attributes:
        pack: object name of its tar.
        clips: how many its commit says it has; None if there is no commit.
        scores: objects with scores of its clips.
        wide: whether wide frames must lie beside it; where they are there they are looked at in any case.
    """

    pack: str
    clips: int | None
    scores: tuple[str, ...] = ()
    wide: bool = False


def check_pack(store: Store, staged: StagedPack) -> Iterator[Fault]:
    """A pack against its name, its index and its commit; then wide frames and scores against the index."""
    rows: list[Placed] = []
    index = index_name(staged.pack)
    yield from first_of(index, guarded(index, _read_rows(store, index, rows)))
    yield from first_of(staged.pack, guarded(staged.pack, _check_tar(store, staged, rows)))
    keys = [row.clip.key for row in rows]
    wide = wide_name(staged.pack)
    if staged.wide or store.exists(wide):
        yield from first_of(wide, guarded(wide, _check_wide(store, wide, rows)))
    for name in staged.scores:
        yield from first_of(name, guarded(name, _check_scores(store, name, keys)))


def _read_rows(store: Store, name: str, rows: list[Placed]) -> Iterator[Fault]:
    faults = list(check_table(store, name, INDEX_SCHEMA))
    yield from faults
    if not faults:
        rows += [Placed.from_row(row) for row in store.read_table(name).to_pylist()]


def _check_tar(store: Store, staged: StagedPack, rows: Sequence[Placed]) -> Iterator[Fault]:
    named = staged.pack.removesuffix(".tar").rpartition("-")[2]
    problems = list(row_problem(rows))
    with store.open(staged.pack) as file:
        sound = [] if problems else rows
        # A cut writes a whole rate as an integer, where a Parquet column has only floats.
        tries = [check_tar(file, staged.pack, some, named) for some in (_as_cut(sound), sound)]
        seen = min(tries, key=lambda one: len(one.faults))
        whole = seen.sha256[: len(named)] == named and len(named) >= HASH_CHARS
        if whole and rows and (seen.faults or problems):
            # The name vouches for the tar.
            yield from rows_differ(index_name(staged.pack), rows, rows_of_tar(file, {}))
            yield from check_order(file, staged.pack, rows)
        elif not whole and rows and not problems and seen.faults:
            yield from seen.faults
        elif not whole:
            what = f"has sha256 {seen.sha256}, and is named otherwise"
            yield Fault(staged.pack, what, None, 0, max(seen.size_bytes, 1))
    if staged.clips is not None and rows and len(rows) != staged.clips:
        yield Fault(index_name(staged.pack), f"has {len(rows)} clips, its commit says {staged.clips}")


def _as_cut(rows: Sequence[Placed]) -> list[Placed]:
    return [
        replace(row, clip=replace(row.clip, fps=int(row.clip.fps))) if row.clip.fps.is_integer() else row
        for row in rows
    ]


def _check_wide(store: Store, name: str, rows: Sequence[Placed]) -> Iterator[Fault]:
    faults = list(check_table(store, name, WIDE_SCHEMA, WIDE_SETTINGS))
    yield from faults
    if faults:
        return
    frames = {row.clip.key: row.clip.n_frames for row in rows}
    last: str | None = None
    met: list[str] = []
    with store.open(name) as file, pq.ParquetFile(file) as parquet:
        for group in range(parquet.num_row_groups):
            for number, row in enumerate(parquet.read_row_group(group, use_threads=False).to_pylist()):
                at = f"row group {group}, row {number}"
                if row["key"] != last:
                    met.append(row["key"])
                last = row["key"]
                if rows and not 0 <= row["frame"] < frames.get(row["key"], math.inf):
                    yield Fault(name, f"shows frame {row['frame']} of {row['key']}", at)
                if row["jpeg"][:2] != b"\xff\xd8" or row["jpeg"][-2:] != b"\xff\xd9":
                    yield Fault(name, "holds no JPEG", at)
    if rows and met != list(frames):
        yield Fault(name, "its clips are not those of the pack, in its order")


def _check_scores(store: Store, name: str, keys: Sequence[str]) -> Iterator[Fault]:
    faults = list(check_table(store, name))
    yield from faults
    if faults:
        return
    table = store.read_table(name)
    if table.column_names[:1] != ["key"]:
        yield Fault(name, "its first column is not `key`")
        return
    if keys and table["key"].to_pylist() != list(keys):
        yield Fault(name, "its clips are not those of the pack, in its order")
    for column in table.column_names[1:]:
        kind = table.schema.field(column).type
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            if table[column].null_count or not pc.all(pc.is_finite(table[column])).as_py():
                yield Fault(name, "holds what is no number", f"column {column}")
        elif not pa.types.is_binary(kind):
            yield Fault(name, f"is {kind}; a score is a number or bytes", f"column {column}")
