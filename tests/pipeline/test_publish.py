"""Versions that keep the shards they can, from packs of synthetic clips."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bench.synthetic import CLIPS_A_PACK, config_of, write_packs
from pipeline.build import curate, publish
from pipeline.config import BuildConfig
from pipeline.curate import Selection
from shards.catalog import CLIPS, catalog_names
from shards.errors import UserError
from shards.index import index_name, read_index
from shards.manifest import ShardEntry, Version, read_version
from shards.store import Store
from shards.verify import verify
from tests.faults.killable import Inline
from tests.quiet import Quiet

PACKS = 12


@pytest.fixture
def config(tmp_path: Path) -> BuildConfig:
    """A dataset of 192 clips that no version holds yet; a tenth of them fails the rule."""
    config = config_of(tmp_path / "set", {"train": 0.7, "val": 0.3}, max_bytes=90_000)
    write_packs(config, range(PACKS))
    return config


def published(config: BuildConfig) -> Version:
    return publish(config, curate(config), Inline(), Quiet())


def keys_by_shard(store: Store, version: Version) -> dict[str, list[str]]:
    return {s.name: [placed.clip.key for placed in read_index(store, s.name)] for s in version.shards}


def stem(entry: ShardEntry | str) -> str:
    name = entry if isinstance(entry, str) else entry.name
    return name.rpartition("-")[0]


def names(version: Version) -> set[str]:
    return {entry.name for entry in version.shards}


def changed(config: BuildConfig, **curate_settings: object) -> BuildConfig:
    settings = config.curate.model_copy(update=curate_settings)
    return config.model_copy(update={"curate": settings})


def test_a_second_version_appends_what_is_new(config: BuildConfig) -> None:
    store = Store(config.dataset)
    first = published(config)
    assert len(first.shards) > 4
    write_packs(config, range(PACKS, PACKS + 2))
    second = published(config)
    assert (second.number, second.parent) == (2, 1)
    assert names(first) < names(second)
    new = [entry for entry in second.shards if entry not in first.shards]
    for entry in new:
        numbers = [int(stem(e)[-6:]) for e in first.shards if e.split == entry.split]
        assert int(stem(entry)[-6:]) > max(numbers)
    assert sum(entry.samples for entry in new) == sum(second.splits.values()) - sum(first.splits.values())
    assert verify(store, second).faults == ()


def test_only_shards_that_lose_a_clip_are_written_again(config: BuildConfig) -> None:
    store = Store(config.dataset)
    first = published(config)
    before = keys_by_shard(store, first)
    gone = before[first.shards[1].name][3]
    second = published(changed(config, rules={**config.curate.rules, "gone": f"key <> '{gone}'"}))
    after = keys_by_shard(store, second)
    assert [stem(name) for name in after] == [stem(name) for name in before]
    lost = first.shards[1].name
    assert after.keys() & before.keys() == before.keys() - {lost}
    (written,) = after.keys() - before.keys()
    assert after[written] == [key for key in before[lost] if key != gone]
    assert verify(store, second).faults == ()
    # And the first one is as it was.
    assert verify(store, read_version(store, 1)).faults == ()


def test_a_shard_that_loses_all_is_left_out_and_its_number_is_not_used_again(config: BuildConfig) -> None:
    store = Store(config.dataset)
    first = published(config)
    last = max((e for e in first.shards if e.split == "train"), key=lambda entry: entry.name)
    gone = ", ".join(f"'{key}'" for key in keys_by_shard(store, first)[last.name])
    write_packs(config, range(PACKS, PACKS + 4))
    second = published(changed(config, rules={**config.curate.rules, "gone": f"key NOT IN ({gone})"}))
    stems = [stem(entry) for entry in second.shards]
    assert stem(last) not in stems
    assert f"shards/train-{int(stem(last)[-6:]) + 1:06d}" in stems
    assert names(first) - {last.name} < names(second)


def test_a_clip_whose_bytes_changed_is_lost_and_new(config: BuildConfig) -> None:
    store = Store(config.dataset)
    first = published(config)
    write_packs(config, [3], luma=90)
    second = published(config)
    changed_keys = {key for key in all_keys(store, first) if key.startswith("example-000000003_")}
    new = [name for name in keys_by_shard(store, second) if stem(name) not in map(stem, first.shards)]
    assert {key for name in new for key in keys_by_shard(store, second)[name]} == changed_keys
    assert all_keys(store, second) == all_keys(store, first)
    assert verify(store, second).faults == ()


def all_keys(store: Store, version: Version) -> set[str]:
    return {key for keys in keys_by_shard(store, version).values() for key in keys}


@pytest.mark.parametrize("settings", [{"seed": 1}, {"splits": {"train": 0.5, "val": 0.5}}])
def test_other_layout_settings_lay_out_anew(config: BuildConfig, settings: dict[str, object]) -> None:
    published(config)
    write_packs(config, range(PACKS, PACKS + 1))
    other = changed(config, **settings)
    second = published(other)
    alone = other.model_copy(update={"dataset": f"{config.dataset}-alone"})
    write_packs(alone, range(PACKS + 1))
    assert published(alone).shards == second.shards


def test_small_shards_are_gathered_when_all_is_laid_out_anew(config: BuildConfig) -> None:
    store = Store(config.dataset)
    for more in range(3):
        write_packs(config, range(PACKS + more, PACKS + more + 1))
        grown = published(config)
    anew = publish(config, curate(config), Inline(), Quiet(), anew=True)
    assert (anew.number, anew.parent) == (grown.number + 1, grown.number)
    assert len(anew.shards) < len(grown.shards)
    assert all_keys(store, anew) == all_keys(store, grown)
    assert verify(store, anew).faults == ()
    # The next build keeps that, and once more changes nothing.
    assert published(config) == anew
    assert publish(config, curate(config), Inline(), Quiet(), anew=True) == anew


def test_the_same_again_is_no_new_version_and_a_rule_that_drops_nothing_shares_all(
    config: BuildConfig,
) -> None:
    first = published(config)
    assert published(config) == first
    second = published(changed(config, rules={**config.curate.rules, "all": "true"}))
    assert second.number == 2
    assert second.shards == first.shards


def object_of(version: Version, suffix: str) -> str:
    tar = version.shards[2].name
    return tar if suffix == "tar" else index_name(tar)


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_an_object_that_is_gone_or_damaged_is_made_again_and_nothing_else_changes(
    config: BuildConfig, harm: str, suffix: str
) -> None:
    store = Store(config.dataset)
    first = published(config)
    name = object_of(first, suffix)
    data = store.read(name)
    if harm == "gone":
        store.remove(name)
    else:
        store.put(name, data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])
    if (harm, suffix) == ("damaged", "tar"):
        # Of the same size it looks whole, as long as its index is there.
        store.remove(index_name(name))
    assert published(config) == first
    assert store.read(name) == data
    assert verify(store, first).faults == ()


def test_the_catalog_says_where_each_kept_clip_lies(config: BuildConfig) -> None:
    store = Store(config.dataset)
    write_packs(config, range(PACKS, PACKS + 2))
    version = published(config)
    (name,) = catalog_names(store, CLIPS, version)
    clips = store.read_table(name)
    assert len(clips) == (PACKS + 2) * CLIPS_A_PACK
    kept = pc.equal(clips["decision"], "kept")
    assert pc.all(pc.equal(kept, pc.is_valid(clips["shard"]))).as_py()
    placed = {
        placed.clip.key: (entry.name, placed.offset, entry.split)
        for entry in version.shards
        for placed in read_index(store, entry.name)
    }
    rows = clips.filter(kept)
    columns = (rows[column].to_pylist() for column in ("key", "shard", "offset", "split"))
    assert {key: tuple(place) for key, *place in zip(*columns, strict=True)} == placed


def test_shares_are_held_to_and_told(config: BuildConfig) -> None:
    other = changed(config, max_share=config.curate.max_share.model_copy(update={"video": 0.1}))
    selection = curate(other, explain=True)
    assert [effect.rule for effect in selection.effects] == ["static", "max_share_video"]
    decisions = selection.clips["decision"].to_pylist()
    assert selection.effects[1].dropped == decisions.count("dropped:max_share_video")
    too_much = changed(config, max_share=config.curate.max_share.model_copy(update={"channel": 0.01}))
    with pytest.raises(UserError, match=r"^curate\.max_share: takes kept clips of at least 100 channels"):
        curate(too_much)


def test_of_nothing_there_is_no_version(config: BuildConfig) -> None:
    selection = curate(changed(config, rules={"none": "false"}))
    with pytest.raises(UserError, match=r"no clip was kept \(dropped:none 192\); loosen curate.rules"):
        publish(config, selection, Inline(), Quiet())
    empty = Selection(selection.clips.slice(0, 0), selection.sources.slice(0, 0))
    with pytest.raises(UserError, match="there are no clips to publish"):
        publish(config, empty, Inline(), Quiet())


def test_the_decisions_are_the_same_however_the_packs_are_listed(config: BuildConfig) -> None:
    clips = curate(config).clips
    assert clips["key"].to_pylist() == sorted(clips["key"].to_pylist())
    assert clips["key"].num_chunks == 1
    assert clips.schema.field("key").type == pa.string()
