from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.synthetic import config_of, write_packs
from pipeline.build import curate, publish
from pipeline.config import BuildConfig
from shards.errors import UserError
from shards.garbage import YOUNG_S, collect_garbage, find_garbage
from shards.manifest import list_versions, read_version
from shards.runs import announce, living
from shards.store import Store
from shards.verify import verify
from shards.versions import summarize_versions
from tests.faults.killable import Inline, Silent

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> BuildConfig:
    """Three versions: of 6 packs, of 8, and without the clips that move least."""
    config = config_of(tmp_path / "set", {"train": 1.0}, max_bytes=90_000)
    write_packs(config, range(6))
    published(config)
    write_packs(config, range(6, 8))
    published(config)
    published(stricter(config))
    return config


def published(config: BuildConfig) -> None:
    publish(config, curate(config), Inline(), Silent())


def stricter(config: BuildConfig) -> BuildConfig:
    rules = {"static": "motion >= 0.5"}
    return config.model_copy(update={"curate": config.curate.model_copy(update={"rules": rules})})


def age(store: Store, name: str, seconds: float) -> None:
    then = store.path(name).stat().st_mtime - seconds
    os.utime(store.path(name), (then, then))


def test_versions_at_a_glance(config: BuildConfig) -> None:
    store = Store(config.dataset)
    first, second, third = summarize_versions(store)
    versions = [read_version(store, number) for number in (1, 2, 3)]
    assert [one.hash for one in (first, second, third)] == [version.hash for version in versions]
    assert [one.parent for one in (first, second, third)] == [None, 1, 2]
    assert first.recipe_hash == second.recipe_hash != third.recipe_hash
    assert first.new_shards == first.shards
    assert second.new_shards == second.shards - first.shards > 0
    assert third.new_shards == third.shards
    assert first.clips == versions[0].splits
    assert second.bytes == first.bytes + second.new_bytes == sum(e.bytes for e in versions[1].shards)


def test_without_garbage_nothing_is_removed_and_nothing_written(config: BuildConfig) -> None:
    store = Store(config.dataset)
    assert find_garbage(store, young_s=0) == ()
    collected = collect_garbage(store, young_s=0)
    assert (collected.objects, collected.report) == ((), None)
    assert store.list("reports") == []
    assert find_garbage(store, keep=3, young_s=0) == ()


def test_older_versions_go_with_what_only_they_name(config: BuildConfig) -> None:
    store = Store(config.dataset)
    all_shards = set(store.list("shards"))
    found = find_garbage(store, keep=2)
    assert [garbage.name for garbage in found if garbage.why == "version"] == ["versions/000001.json"]
    # All shards of the first are those of the second, too.
    assert {garbage.why for garbage in found} == {"version", "catalog"}
    assert list_versions(store) == [1, 2, 3]
    collected = collect_garbage(store, keep=1)
    assert list_versions(store) == [3]
    version = read_version(store)
    assert verify(store, version).faults == ()
    left = set(store.list("shards"))
    assert left == {entry.name for entry in version.shards} | {
        entry.name.replace(".tar", ".parquet") for entry in version.shards
    }
    removed = {garbage.name for garbage in collected.objects}
    assert removed >= all_shards - left
    assert collected.report is not None
    report = json.loads(store.read(collected.report))
    assert {told["name"] for told in report["objects"]} == removed
    assert report["bytes"] == sum(garbage.bytes for garbage in collected.objects)
    order = [garbage.why for garbage in collected.objects]
    assert order == sorted(order, key=["version", "shard", "catalog"].index)


def test_what_nothing_ever_named_is_spared_while_it_is_young(config: BuildConfig) -> None:
    store = Store(config.dataset)
    name = "shards/train-000099-0badcafe.tar"
    store.put(name, b"x")
    store.put("shards/of a person.tar", b"x")
    assert find_garbage(store) == ()
    for each in (name, "shards/of a person.tar"):
        age(store, each, YOUNG_S + 60)
    assert [garbage.name for garbage in find_garbage(store)] == [name]


def test_while_a_build_is_at_work_nothing_is_collected_and_the_other_way_round(config: BuildConfig) -> None:
    store = Store(config.dataset)
    store.put("shards/train-000099-0badcafe.tar", b"x")
    with announce(store, "build"):
        with pytest.raises(UserError, match="a build is at work there"):
            collect_garbage(store, young_s=0)
        with announce(store, "build"):
            assert len(living(store)) == 2
    with announce(store, "gc"), pytest.raises(UserError, match="genieset gc is at work there"):
        published(stricter(config))
    assert living(store) == {}
    assert len(collect_garbage(store, young_s=0).objects) == 1


def genieset(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_commands_tell_before_they_remove(config: BuildConfig) -> None:
    listed = json.loads(genieset("versions", config.dataset, "--json").stdout)
    assert [one["number"] for one in listed] == [1, 2, 3]
    assert genieset("versions", config.dataset).stdout.splitlines()[-1] == (
        f"3 versions of {config.dataset}: {sum(one['new_bytes'] for one in listed):,} bytes of shards, "
        "each counted once"
    )
    told = genieset("gc", config.dataset, "--keep", "1")
    assert "would be removed; --yes removes them" in told.stdout
    assert list_versions(Store(config.dataset)) == [1, 2, 3]
    done = genieset("gc", config.dataset, "--keep", "1", "--yes")
    assert done.stdout.splitlines()[-1].endswith("bytes are removed; reports/gc-000001.json lists them")
    assert genieset("gc", config.dataset, "--yes").stdout == f"there is no garbage in {config.dataset}\n"
    assert list_versions(Store(config.dataset)) == [3]
