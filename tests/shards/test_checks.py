"""The parts that verify is made of: they find what they should, and bear whatever they meet."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.checks.crc import changed_bytes
from shards.checks.members import plain_members
from shards.checks.pages import check_pages
from shards.checks.table import check_table
from shards.checks.tar import check_tar
from shards.checks.thrift import Reader
from shards.commits import COMMIT_SCHEMA
from shards.records import CLIP_SCHEMA, INDEX_SCHEMA, VIDEO_SCHEMA
from shards.store import PARQUET_SETTINGS, Store, write_parquet
from shards.wide import WIDE_SCHEMA


@given(
    data=st.binary(min_size=1, max_size=3000),
    share=st.floats(0, 1, exclude_max=True),
    change=st.integers(1, 255),
)
def test_a_changed_byte_is_among_those_that_the_checksum_allows(
    data: bytes, share: float, change: int
) -> None:
    place = int(share * len(data))
    damaged = bytearray(data)
    damaged[place] ^= change
    found = list(changed_bytes(zlib.crc32(damaged), zlib.crc32(data), len(data)))
    assert (place, change) in found
    for other, pattern in found:
        mended = bytearray(damaged)
        mended[other] ^= pattern
        assert zlib.crc32(mended) == zlib.crc32(data)


@given(st.binary(max_size=300))
def test_what_is_no_structure_is_refused_without_more(data: bytes) -> None:
    try:
        found = Reader(data).structure()
    except ValueError:
        return
    assert all(isinstance(number, int) for number in found)


@given(st.binary(max_size=600), st.binary(max_size=600))
def test_whatever_stands_for_parquet_is_told(head: bytes, footer: bytes) -> None:
    size = len(footer).to_bytes(4, "little")
    for data in (head, b"PAR1" + head + footer + size + b"PAR1"):
        assert list(check_pages(io.BytesIO(data), "some.parquet"))


@given(st.binary(max_size=2000))
def test_whatever_stands_for_a_tar_is_told(data: bytes) -> None:
    assert check_tar(io.BytesIO(data), "some.tar", [], "0" * 64).sha256
    if any(data[:512]):
        with pytest.raises(ValueError, match="header"):
            list(plain_members(io.BytesIO(data)))


ROWS = {
    "some": pa.table({"key": [f"k{number}" for number in range(5000)], "x": [n / 7 for n in range(5000)]}),
    "none": pa.table({"key": pa.array([], pa.string())}),
    "in batches": pa.concat_tables([pa.table({"key": [f"{n:0200d}"], "n": [n]}) for n in range(3000)]),
    "many": pa.table({"n": pa.array(range(200_000), pa.int64()), "of": pa.array(["x"] * 200_000)}),
    "nulls": pa.table(
        {"a": pa.array([None, None], pa.string()), "b": pa.array([[], None], pa.list_(pa.int32()))}
    ),
    "large": pa.table({"b": [bytes([n % 256]) * 3000 for n in range(2000)]}),
    **{
        f"no rows of {name}": schema.empty_table()
        for name, schema in {
            "clips": CLIP_SCHEMA,
            "index": INDEX_SCHEMA,
            "videos": VIDEO_SCHEMA,
            "commits": COMMIT_SCHEMA,
            "wide": WIDE_SCHEMA,
        }.items()
    },
}


@pytest.mark.parametrize("name", ROWS)
def test_what_is_written_well_has_no_fault(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    store.put_table("a.parquet", ROWS[name])
    assert list(check_table(store, "a.parquet", ROWS[name].schema)) == []
    # Read and written on, its lists have another name inside.
    store.put_table("b.parquet", store.read_table("a.parquet"))
    assert list(check_table(store, "b.parquet")) == []


def _written(tmp_path: Path, **settings: object) -> Store:
    file = io.BytesIO()
    pq.write_table(ROWS["some"], file, **PARQUET_SETTINGS | settings)
    store = Store(tmp_path)
    store.put("a.parquet", file.getvalue())
    return store


def test_what_was_written_before_pages_had_checksums_has_no_fault(tmp_path: Path) -> None:
    assert list(check_table(_written(tmp_path, write_page_checksum=False), "a.parquet")) == []


def test_what_is_not_written_here_is_told(tmp_path: Path) -> None:
    assert list(check_table(_written(tmp_path, version="1.0"), "a.parquet"))


@pytest.mark.parametrize("declared", [2**31 - 1, 2**62, -1])
def test_a_footer_that_declares_what_cannot_be_is_not_believed(declared: int) -> None:
    file = io.BytesIO()
    write_parquet(pa.table({"n": pa.array(range(100), pa.int64())}), file)
    data = file.getvalue()
    # Rows of the object and of its group: zigzag 200 after the field heads 0x16 and 0x26.
    for head in (b"\x16", b"\x26"):
        found = data.rfind(head + b"\xc8\x01")
        if found < 0:
            continue
        value = declared << 1 ^ declared >> 63
        number = bytearray()
        while value > 127:
            number.append(value & 127 | 128)
            value >>= 7
        number.append(value)
        tail = data[found + 3 : -8]
        footer_bytes = int.from_bytes(data[-8:-4], "little") + len(number) - 2
        changed = data[: found + 1] + bytes(number) + tail + footer_bytes.to_bytes(4, "little") + b"PAR1"
        assert list(check_pages(io.BytesIO(changed), "a.parquet"))
