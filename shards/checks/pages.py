"""The footer and the pages of a Parquet object, looked at before any library believes them.

Format: https://github.com/apache/parquet-format (FileMetaData, ColumnMetaData, PageHeader).
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from shards.checks.faults import Fault
from shards.checks.thrift import Reader
from shards.store import ROW_GROUP_ROWS

_MAGIC = b"PAR1"
_TAIL_BYTES = 8
_LARGEST_FOOTER_BYTES = 64_000_000
_LARGEST_GROUP_BYTES = 1 << 30
_HEAD_BYTES = 1 << 16
_DATA_PAGES = (0, 3)


@dataclass(frozen=True)
class Chunk:
    """One column of one group of rows.

    Attributes:
        at: "row group 0, column key".
        start, end: where its pages lie.
        values: how many it declares, of all its pages.
        uncompressed_bytes: what its pages come to.
    """

    at: str
    start: int
    end: int
    values: int
    uncompressed_bytes: int


def check_pages(file: BinaryIO, name: str) -> Iterator[Fault]:
    """Whether the footer can be true, and every page is as its checksum says."""
    size = file.seek(0, io.SEEK_END)
    problem = _ends_problem(file, name, size)
    if problem:
        yield problem
        return
    footer = size - _TAIL_BYTES - _footer_bytes(file, size)
    file.seek(footer)
    try:
        chunks = list(_chunks(Reader(file.read(size - _TAIL_BYTES - footer)).structure()))
        place = len(_MAGIC)
        for chunk in chunks:
            if chunk.start != place or not place < chunk.end <= footer:
                raise ValueError(
                    f"{chunk.at} lies at bytes {chunk.start}-{chunk.end - 1}, expected at {place}"
                )
            place = chunk.end
        if place != footer:
            raise ValueError(f"nothing lies at bytes {place}-{footer - 1}")
    # Any field may be missing, or of another type than it should be.
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        told = f"it lacks field {error}" if isinstance(error, KeyError) else str(error)
        yield Fault(name, f"its footer is damaged: {told[:200]}", "footer", footer, size)
        return
    for chunk in chunks:
        yield from _check_chunk(file, name, chunk)


def _ends_problem(file: BinaryIO, name: str, size: int) -> Fault | None:
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC:
        return Fault(name, "does not begin as Parquet does", None, 0, len(_MAGIC))
    file.seek(max(0, size - len(_MAGIC)))
    if size < len(_MAGIC) + _TAIL_BYTES or file.read() != _MAGIC:
        what = f"does not end as Parquet does, but after {size} bytes"
        return Fault(name, what, None, max(0, size - len(_MAGIC)), size)
    declared = _footer_bytes(file, size)
    if declared > min(size - _TAIL_BYTES - len(_MAGIC), _LARGEST_FOOTER_BYTES):
        what = f"declares a footer of {declared} bytes in an object of {size}"
        return Fault(name, what, None, size - _TAIL_BYTES, size - len(_MAGIC))
    return None


def _footer_bytes(file: BinaryIO, size: int) -> int:
    file.seek(size - _TAIL_BYTES)
    return int.from_bytes(file.read(4), "little")


def _chunks(meta: dict[int, Any]) -> Iterator[Chunk]:
    rows = 0
    for number, group in enumerate(meta[4]):
        if not 0 <= group[3] <= ROW_GROUP_ROWS:
            raise ValueError(
                f"row group {number} declares {group[3]} rows; there are at most {ROW_GROUP_ROWS}"
            )
        rows += group[3]
        total = 0
        for column in group[1]:
            told = column[3]
            at = f"row group {number}, column {told[3][0].decode(errors='replace')}"
            # Of no rows there is a dictionary page alone, and 0 stands for the other.
            pages = [told[field] for field in (9, 11) if told.get(field)]
            total += told[6]
            if not 0 <= told[6] <= _LARGEST_GROUP_BYTES or total > _LARGEST_GROUP_BYTES:
                raise ValueError(f"{at} declares {told[6]} bytes; there are at most {_LARGEST_GROUP_BYTES}")
            yield Chunk(at, min(pages), min(pages) + told[7], told[5], told[6])
    if rows != meta[3]:
        raise ValueError(f"{meta[3]} rows are declared, its groups have {rows}")


def _check_chunk(file: BinaryIO, name: str, chunk: Chunk) -> Iterator[Fault]:
    place, values, uncompressed = chunk.start, 0, 0
    while place < chunk.end:
        file.seek(place)
        reader = Reader(file.read(min(_HEAD_BYTES, chunk.end - place)))
        try:
            head = reader.structure()
            page = place + reader.place
            size, checksum = int(head[3]), head.get(4)
            uncompressed += int(head[2]) + reader.place
            if not 0 <= size <= chunk.end - page or head[2] < 0:
                raise ValueError(f"a page of {size} bytes is declared")
            values += (head.get(5) or head[8])[1] if head[1] in _DATA_PAGES else 0
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            told = f"it lacks field {error}" if isinstance(error, KeyError) else str(error)
            end = min(chunk.end, place + _TAIL_BYTES + reader.place)
            yield Fault(name, f"the head of a page is damaged: {told[:200]}", chunk.at, place, end)
            return
        file.seek(page)
        # One written before pages had checksums has none.
        if checksum is not None and zlib.crc32(file.read(size)) != checksum & 0xFFFFFFFF:
            yield Fault(name, "a page is damaged (crc32)", chunk.at, place, page + size)
        place = page + size
    if (values, uncompressed) != (chunk.values, chunk.uncompressed_bytes):
        what = f"its pages have {values} values, {chunk.values} are declared"
        if values == chunk.values:
            what = f"its pages declare {uncompressed} bytes, the footer {chunk.uncompressed_bytes}"
        yield Fault(name, what, chunk.at, chunk.start, chunk.end)
