"""What is not of Genieset's making is told of and never touched, and no link leads out of the dataset."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.forget import forget, look
from shards.checks.forgotten import check_forgotten
from shards.names import every_object, is_ours
from shards.store import Store
from tests.pipeline.forget.conftest import LABELS, NOBODY, Dataset
from tests.quiet import Quiet


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_what_users_lay_beside_it_stays_and_is_named(dataset: Dataset, tmp_path: Path) -> None:
    store, video_id = dataset.store, dataset.ids[0]
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "diary.txt").write_text(f"saw {video_id}\nand more\n")
    (outside / "own.json").write_text(json.dumps([video_id, "mine"]))
    (store.root / "raw").symlink_to(outside)
    (store.root / "classifiers" / "c0123456789a").symlink_to(outside)
    mine = {
        "notes/mine.csv": f"{video_id},good\nfile-other,bad\n",
        "report.docx": f"of {video_id}",
        "labels/mine.jsonl": json.dumps({"video_id": video_id}) + "\n",
        f"shards/{video_id}.txt": "",
        "notes/table.parquet": f"no table, {video_id}",
        "notes/other.txt": "of nobody",
    }
    for name, text in mine.items():
        store.put(name, text.encode())
    there = files(outside)
    named = sorted(set(mine) - {"notes/other.txt"})
    assert sorted(look(store, [video_id], LABELS).foreign) == named
    forget(store, [video_id], LABELS, Quiet())
    assert files(outside) == there
    assert {name: store.read(name).decode() for name in mine} == mine
    faults = check_forgotten(store)
    assert sorted({fault.object for fault in faults}) == sorted([*named, "classifiers/c0123456789a"])
    assert all("not of Genieset's making: delete it, or clean" in fault.what for fault in faults[1:])
    assert str(faults[0]).startswith("classifiers/c0123456789a: is a link, and what it leads to was not")


def test_all_that_is_written_is_known_for_our_own(dataset: Dataset) -> None:
    assert [name for name in every_object(dataset.store) if not is_ours(name)] == []
    (beside,) = [name for name in dataset.store.list("packs") if name.endswith(".info.json")]
    assert beside in look(dataset.store, dataset.ids[:1], LABELS).objects
    forget(dataset.store, dataset.ids[:1], LABELS, Quiet())
    assert not dataset.store.exists(beside)


def test_a_folder_of_its_own_may_be_a_link(dataset: Dataset, tmp_path: Path) -> None:
    store, video_id = dataset.store, dataset.ids[0]
    (store.root / "packs").rename(tmp_path / "elsewhere")
    (store.root / "packs").symlink_to(tmp_path / "elsewhere")
    (store.root / "again").symlink_to(store.root)
    assert any(name.startswith(f"packs/{video_id}") for name in every_object(store))
    forget(store, [video_id], LABELS, Quiet())
    assert check_forgotten(store) == []
    assert not any(video_id in path.name for path in (tmp_path / "elsewhere").iterdir())


def test_what_a_living_process_writes_is_left_to_it(dataset: Dataset) -> None:
    store, video_id = dataset.store, dataset.ids[0]
    with store.stage() as staged:
        staged.file.write(b"of another video")
        forget(store, [video_id], LABELS, Quiet())
        assert staged.publish("candidates/0badcafe.json")
    assert not store.exists(f".tmp/{NOBODY}-0-0badcafe")


def test_a_store_tells_links_from_folders(tmp_path: Path) -> None:
    (tmp_path / "set" / "folder").mkdir(parents=True)
    (tmp_path / "set" / "link").symlink_to(tmp_path)
    store = Store(tmp_path / "set")
    assert (store.folders(""), store.links("")) == (["folder"], ["link"])
