from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from shards.errors import UserError
from shards.store import Store
from tests.disks import MountDisk


def objects(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_name_is_not_empty() -> None:
    with pytest.raises(UserError, match="its name is empty; give a folder or a URL"):
        Store("")


@pytest.mark.parametrize(
    ("slip", "meant"), [("s3:/bucket/x", "s3://bucket/x"), ("gs:b/x", "gs://b/x"), ("S3:b", "S3://b")]
)
def test_a_slip_in_a_url_is_no_folder(slip: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"dataset {slip}: did you mean {meant}"):
        Store(slip)


def test_create_keeps_the_first_and_put_replaces(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.create("commits/a.json", b"first")
    assert not store.create("commits/a.json", b"second")
    assert store.read("commits/a.json") == b"first"
    store.put("commits/a.json", b"third")
    assert store.read("commits/a.json") == b"third"
    assert objects(tmp_path) == {"commits/a.json"}


def test_the_loser_of_a_race_for_a_name_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.stage() as mine, store.stage() as theirs:
        mine.file.write(b"mine")
        theirs.file.write(b"theirs")
        assert theirs.publish("versions/1", if_absent=True)
        assert not mine.publish("versions/1", if_absent=True)
    assert store.read("versions/1") == b"theirs"


def test_what_is_not_published_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def stage_and_fail() -> None:
        with store.stage() as staged:
            staged.file.write(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        stage_and_fail()
    assert objects(tmp_path) == set()


def test_equal_tables_are_equal_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [{"key": f"k{number % 7}", "value": number / 3} for number in range(1000)]
    store.put_table("a.parquet", pa.Table.from_pylist(rows))
    store.put_table(
        "b.parquet", pa.concat_tables([pa.Table.from_pylist(rows[:10]), pa.Table.from_pylist(rows[10:])])
    )
    assert store.read("a.parquet") == store.read("b.parquet")


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../b"])
def test_no_name_leads_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name inside a store"):
        Store(tmp_path).put(name, b"")


def test_a_store_that_is_not_supported_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^dataset az://...: datasets lie in local folders, in s3://BUCKET/"):
        Store("az://bucket/set")


def test_an_absent_folder_is_an_empty_one(tmp_path: Path) -> None:
    assert Store(tmp_path / "none").list("commits") == []


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(mount_disk: MountDisk) -> None:
    disk = mount_disk("64k")
    store = Store(disk)
    with pytest.raises(UserError, match=r"No space left on device; make room"):
        store.put("packs/p.tar", bytes(2**20))
    assert objects(disk) == set()
