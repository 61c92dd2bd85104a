"""Whatever is planted of a forgotten video, wherever it is, is found and located."""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.forget import forget
from shards.catalog import CLIPS, CURATED
from shards.checks.forgotten import check_forgotten
from shards.codec import encode_clip
from shards.errors import UserError
from shards.index import read_clip, read_index
from shards.manifest import read_version
from shards.mentions import Mentions
from shards.names import every_object
from shards.purge import clean_table
from shards.store import Store
from shards.tar import TarWriter
from tests.pipeline.forget.conftest import LABELS, NOBODY, Dataset
from tests.quiet import Quiet

PACK = "packs/file-other-0123456789ab-0badcafe.tar"

Plant = Callable[[Store, str, bytes], None]


def in_a_table(store: Store, video_id: str, _: bytes) -> None:
    table = store.read_table(CURATED[CLIPS])
    of = pa.array([None] * (len(table) - 1) + [f"{video_id}_00000000"], pa.string())
    store.put_table(
        CURATED[CLIPS], table.set_column(table.schema.get_field_index("duplicate_of"), "duplicate_of", of)
    )


def in_a_nested_column(store: Store, video_id: str, _: bytes) -> None:
    rows = [{"video": {"found_at": ["elsewhere", f"by/{video_id}.mp4"]}}]
    store.put_table("commits/segments/0123456789abcdef.parquet", pa.Table.from_pylist(rows))


def in_a_log(store: Store, video_id: str, _: bytes) -> None:
    store.put("attempts/1-0badcafe-00000000.json", b'{"log": "' + video_id.encode() + b' died"}\n')


def in_a_report(store: Store, video_id: str, _: bytes) -> None:
    store.put("reports/gc-000009.json", b'{"objects": [{"name": "packs/' + video_id.encode() + b'"}]}\n')


def in_an_export(store: Store, video_id: str, _: bytes) -> None:
    store.put("exports/croissant/000003/croissant.json", b'"' + video_id.encode() + b'_00000160"')


def in_half_an_object(store: Store, video_id: str, _: bytes) -> None:
    store.put(f".tmp/{NOBODY}-1-0badcafe", bytes(9_000_000) + video_id.encode() + bytes(100))


def in_a_name(store: Store, video_id: str, _: bytes) -> None:
    store.put(f"scores/motion-1/{video_id}-0123456789ab-0badcafe.parquet", b"")


def in_a_free_page(store: Store, video_id: str, _: bytes) -> None:
    with sqlite3.connect(store.path("labels/labels.sqlite3")) as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("CREATE TABLE extra (text TEXT)")
        database.executemany("INSERT INTO extra VALUES (?)", [(f"{video_id}_{n:08d}",) for n in range(99)])
        database.commit()
        database.execute("DROP TABLE extra")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def in_the_log_of_a_database(store: Store, video_id: str, _: bytes) -> None:
    store.put("labels/labels.sqlite3-wal", bytes(4096) + f"random{video_id}_00000000all".encode())


def in_a_member_s_name(store: Store, video_id: str, _: bytes) -> None:
    _write_tar(store, f"{video_id}_00000000", {"json": b"{}"})


def as_a_clip_by_another_name(store: Store, _: str, mp4: bytes) -> None:
    _write_tar(store, "file-other_00000000", {"mp4": mp4, "json": b"{}"})


def as_a_clip_under_a_longer_suffix(store: Store, _: str, mp4: bytes) -> None:
    _write_tar(store, "file-other_00000000", {"left.mp4": mp4})


def as_a_file(store: Store, _: str, mp4: bytes) -> None:
    store.put("shards/copy.bin", mp4)


def in_the_midst_of_something(store: Store, _: str, mp4: bytes) -> None:
    store.put("reports/gc-000008.json", bytes(9_000_000) + mp4 + b"ftyp" + bytes(100))


def as_a_member_that_is_no_mp4_by_its_name(store: Store, _: str, mp4: bytes) -> None:
    _write_tar(store, "file-other_00000000", {"avi": mp4})


def with_its_tombstone_gone(store: Store, video_id: str, _: bytes) -> None:
    store.remove(f"tombstones/{video_id}.json")


PLANTS: list[tuple[Plant, str]] = [
    (in_a_table, r"catalog/clips/curated.parquet, row \d+, column duplicate_of: names"),
    (in_a_nested_column, r"segments/0123456789abcdef.parquet, row 0, column video.found_at: names"),
    (in_a_log, r"attempts/1-0badcafe-00000000.json, bytes 9-33: names"),
    (in_a_report, r"reports/gc-000009.json, bytes \d+-\d+: names"),
    (in_an_export, r"exports/croissant/000003/croissant.json, bytes 1-25: names"),
    (in_half_an_object, r".tmp/9999999-1-0badcafe, bytes 9000000-9000024: names"),
    (in_a_name, r"0badcafe.parquet: is named after a forgotten video"),
    (in_a_free_page, r"labels/labels.sqlite3, bytes \d+-\d+: names"),
    (in_the_log_of_a_database, r"labels/labels.sqlite3-wal, bytes 4102-4126: names"),
    (in_a_member_s_name, rf"{PACK}, bytes 0-24: names"),
    (as_a_clip_by_another_name, rf"{PACK}, file-other_00000000, bytes 512-\d+: holds \d+ key frames"),
    (as_a_file, r"shards/copy.bin, byte 0: an mp4 begins there with \d+ key frames"),
    (in_the_midst_of_something, r"reports/gc-000008.json, byte 9000000: an mp4 begins there with"),
    (as_a_member_that_is_no_mp4_by_its_name, rf"{PACK}, byte 512: an mp4 begins there with"),
    (with_its_tombstone_gone, r"tombstones/\S+.json: is missing, and reports/forget-000001.json forgot"),
    (as_a_clip_under_a_longer_suffix, rf"{PACK}, file-other_00000000, bytes 512-\d+: holds"),
]


OF_CLIPS = (
    *(as_a_clip_by_another_name, as_a_clip_under_a_longer_suffix),
    *(as_a_file, in_the_midst_of_something, as_a_member_that_is_no_mp4_by_its_name),
)


def _write_tar(store: Store, key: str, members: dict[str, bytes]) -> None:
    file = io.BytesIO()
    with TarWriter(file) as tar:
        tar.append(key, members)
    store.put(PACK, file.getvalue())


def test_whatever_is_planted_is_found_and_a_clip_of_others_is_not(dataset: Dataset) -> None:
    store, video_id = dataset.store, dataset.ids[0]
    with pytest.raises(UserError, match="nothing was forgotten"):
        check_forgotten(store)
    tar = next(e.name for e in read_version(store).shards if video_id in _videos(store, e.name))
    placed = next(one for one in read_index(store, tar) if one.clip.video_id == video_id)
    mp4 = read_clip(store, tar, placed).mp4
    forget(store, [video_id], LABELS, Quiet())
    _write_tar(store, "file-other_00000000", {"mp4": _noise()})
    assert check_forgotten(store) == []
    store.remove(PACK)
    there = set(every_object(store))
    for plant, expected in PLANTS:
        plant(store, video_id, mp4)
        said = [str(fault) for fault in check_forgotten(store)]
        print(f"{plant.__name__}: {said[0] if said else 'not found'}")
        assert said, plant.__name__
        assert any(_is(expected, line) for line in said), (plant.__name__, said)
        # What can be found can be forgotten once more, but for a clip that nothing names.
        if plant in OF_CLIPS:
            for name in set(every_object(store)) - there:
                store.remove(name)
        else:
            forget(store, [video_id], LABELS, Quiet())
            there = set(every_object(store))
        assert check_forgotten(store) == [], plant.__name__


def _videos(store: Store, tar: str) -> set[str]:
    return {placed.clip.video_id for placed in read_index(store, tar)}


def _is(expected: str, line: str) -> bool:
    return re.search(expected, line) is not None


def _noise() -> bytes:
    return encode_clip(np.random.default_rng(0).integers(16, 235, (16, 135, 160), np.uint8)).mp4


def test_an_id_that_is_a_part_of_another_does_not_stand_there() -> None:
    mentions = Mentions(["site-1", "site-a_b"], known=["site-1", "site-12", "x-site-1", "site-a"])
    for other in (
        "site-12_00000000",
        "packs/site-12-0123456789ab-01234567.tar",
        "x-site-1",
        "site-a_00000000",
    ):
        assert not mentions.in_text(other)
    for own in ("site-1_00000000", "randomsite-1all", "site-12 and site-1", "site-a_b_00000000"):
        assert mentions.in_text(own)


@pytest.mark.parametrize("at", [0, 1, 8 * 1024**2 - 5, 8 * 1024**2, 8 * 1024**2 + 150, 17_000_000])
def test_an_id_is_found_once_wherever_it_lies_in_a_file(at: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(at) + b"site-1" + bytes(300) + b"site-12" + bytes(10))
    mentions = Mentions(["site-1"], known=["site-12"])
    with path.open("rb") as file:
        assert list(mentions.in_file(file)) == [(at, at + 6)]


IDS = st.sampled_from(["site-1", "site-12", "site-a_b", "other-1"])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "video_id": IDS,
            "number": st.integers(0, 9),
            "of": st.none() | IDS.map(lambda one: f"{one}_00000000"),
            "found_at": st.lists(IDS.map(lambda one: f"at/{one}"), max_size=2),
            "video": st.fixed_dictionaries({"title": st.none() | IDS}),
        }
    )
)
SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        ("number", pa.int64()),
        ("of", pa.string()),
        pa.field("found_at", pa.list_(pa.string()), nullable=False),
        ("video", pa.struct([("title", pa.string())])),
    ]
)


@given(ROWS, st.sets(IDS, min_size=1))
def test_a_clean_table_is_the_rows_of_others_in_order_without_a_mention(
    rows: list[dict[str, Any]], gone: set[str]
) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    cleaned = clean_table(table, Mentions(gone, {"site-1", "site-12", "site-a_b", "other-1"}))
    assert cleaned.schema == SCHEMA

    def named(text: str | None) -> bool:
        return text is not None and text.removeprefix("at/").removesuffix("_00000000") in gone

    expected = [
        row
        | {
            "of": None if named(row["of"]) else row["of"],
            "found_at": [place for place in row["found_at"] if not named(place)],
            "video": None if named(row["video"]["title"]) else row["video"],
        }
        for row in rows
        if row["video_id"] not in gone
    ]
    assert cleaned.to_pylist() == expected
