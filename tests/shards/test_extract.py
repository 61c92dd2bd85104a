"""Clips taken out of a dataset: the very bytes, under names made of keys alone, and never over another's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from shards.codec import decode_clip
from shards.errors import UserError
from shards.extract import Extracted, extract
from shards.index import index_name, read_clip, read_index
from shards.lookup import look_up
from shards.manifest import read_version
from shards.query import keys_where, read_views
from shards.store import Store
from tests.published import HOSTILE


@pytest.fixture
def dataset(hostile: Path, tmp_path: Path) -> Store:
    return Store(shutil.copytree(hostile, tmp_path / "set"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_kept_and_dropped_clips_come_out_byte_for_byte(dataset: Store, tmp_path: Path) -> None:
    views = read_views(dataset)
    keys = keys_where(views, "true")
    out = tmp_path / "out"
    assert extract(dataset, views, keys, Store(out)) == Extracted(7, 0)
    found = files(out)
    assert set(found) == {f"{key}.{suffix}" for key in keys for suffix in ("mp4", "json")}
    tars = {placed.tar for placed in look_up(dataset, views, keys)}
    assert {tar.partition("/")[0] for tar in tars} == {"shards", "packs"}, "what was dropped is in a pack"
    for shard in read_version(dataset).shards:
        for placed in read_index(dataset, shard.name):
            assert found[f"{placed.clip.key}.mp4"] == read_clip(dataset, shard.name, placed).mp4
    for key in keys:
        assert len(decode_clip(found[f"{key}.mp4"])) == 160
        told = json.loads(found[f"{key}.json"])
        assert told["clip"]["key"] == key
        assert told["video"]["video_id"] == told["clip"]["video_id"]
        assert set(told["scores"]) == {"motion", "cuts"}
    told = [json.loads(data)["video"] for name, data in found.items() if name.endswith("json")]
    assert {video["licence"] is None for video in told} == {True, False}
    assert any(video["title"].startswith(HOSTILE[:8]) for video in told)

    again = extract(dataset, views, keys, Store(out))
    assert again == Extracted(0, 7)
    assert files(out) == found


def test_into_a_bucket(dataset: Store, s3_bucket: str) -> None:
    views = read_views(dataset)
    out = Store(f"s3://{s3_bucket}/clips")
    assert extract(dataset, views, keys_where(views, "decision = 'kept'"), out) == Extracted(6, 0)
    assert sum(name.endswith(".mp4") for name in out.list("")) == 6


def test_not_into_the_dataset_itself(dataset: Store) -> None:
    for inside in (dataset.root, dataset.root / "shards", dataset.root / "x" / ".." / "y"):
        with pytest.raises(UserError, match="lies in the dataset; give a folder outside of it"):
            extract(dataset, read_views(dataset), [], Store(inside))


def test_a_clip_that_its_index_has_lost_is_told(dataset: Store, tmp_path: Path) -> None:
    views = read_views(dataset)
    key = keys_where(views, "decision = 'kept'")[0]
    (found,) = look_up(dataset, views, [key])
    index = dataset.path(index_name(found.tar))
    table = pq.read_table(index)
    pq.write_table(table.filter(pc.not_equal(table["key"], key)), index)
    with pytest.raises(UserError, match=rf"has no row of {key}, which lies in {found.tar} by the catalog"):
        extract(dataset, views, [key], Store(tmp_path / "out"))


def test_another_file_of_the_name_is_left_alone(dataset: Store, tmp_path: Path) -> None:
    views = read_views(dataset)
    key = views["clips"]["key"][0].as_py()
    out = tmp_path / "out"
    out.mkdir()
    (out / f"{key}.mp4").write_text("mine")
    with pytest.raises(UserError, match=rf"^--out .*: {key}.mp4 lies there already and is another"):
        extract(dataset, views, [key], Store(out))
    assert (out / f"{key}.mp4").read_text() == "mine"


def test_without_packs_what_is_published_still_comes_out(dataset: Store, tmp_path: Path) -> None:
    shutil.rmtree(dataset.path("packs"))
    views = read_views(dataset)
    kept, dropped = (keys_where(views, f"decision {sign} 'kept'") for sign in ("=", "!="))
    assert extract(dataset, views, kept, Store(tmp_path / "out")) == Extracted(6, 0)
    with pytest.raises(UserError, match=r"the pack of file-\w+ is gone; `genieset build` makes it again"):
        extract(dataset, views, dropped, Store(tmp_path / "out"))


def test_a_damaged_clip_is_named_and_not_written(dataset: Store, tmp_path: Path) -> None:
    shard = read_version(dataset).shards[0]
    placed = read_index(dataset, shard.name)[0]
    path = dataset.path(shard.name)
    data = bytearray(path.read_bytes())
    data[placed.offset + placed.size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"{placed.clip.key}.mp4 in {shard.name} is damaged \(crc32\)"):
        extract(dataset, read_views(dataset), [placed.clip.key], Store(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["nothing_00000000", "../../etc/passwd", "", "a/b_00000000"])
def test_a_clip_that_there_is_not_is_told(dataset: Store, tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match=r"no clip .*; (did you mean|there are 7 clips)"):
        extract(dataset, read_views(dataset), [key], Store(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_index_that_names_a_file_elsewhere_writes_none(dataset: Store, tmp_path: Path) -> None:
    shard = read_version(dataset).shards[0].name
    name = shard.removesuffix(".tar") + ".parquet"
    evil = "../evil_00000000"
    views = read_views(dataset)
    key = read_index(dataset, shard)[0].clip.key
    for where, table in ((name, dataset.read_table(name)), ("", views["clips"])):
        keys = [evil if value == key else value for value in table["key"].to_pylist()]
        at = table.schema.get_field_index("key")
        table = table.set_column(at, table.schema.field("key"), [keys])
        if where:
            dataset.put_table(where, table)
        else:
            views["clips"] = table
    with pytest.raises(UserError, match="not a clip key"):
        extract(dataset, views, [evil], Store(tmp_path / "out"))
    assert not (tmp_path / "evil_00000000.mp4").exists()
