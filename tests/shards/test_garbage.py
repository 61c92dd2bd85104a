from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.synthetic import config_of, write_packs
from pipeline.build import curate, publish
from pipeline.config import BuildConfig
from shards.errors import UserError
from shards.export.write import export_version, exports_of
from shards.garbage import YOUNG_S, collect_garbage, find_garbage
from shards.manifest import list_versions, read_version, version_name
from shards.object_store import PROBE
from shards.runs import announce, living
from shards.store import Store
from shards.verify import verify
from shards.versions import changed_settings, summarize_versions
from tests.faults.killable import Inline
from tests.quiet import Quiet

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
    publish(config, curate(config), Inline(), Quiet())


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


def damage(store: Store, number: int) -> None:
    store.put(version_name(number), store.read(version_name(number))[:-9])


def test_views_go_before_their_version(config: BuildConfig) -> None:
    store = Store(config.dataset)
    for number in (1, 3):
        export_version(store, read_version(store, number), "wids")
    gone, kept = exports_of(store, 1), exports_of(store, 3)
    store.put("exports/wids/mine/notes.txt", b"of a person")
    assert find_garbage(store, young_s=0) == ()
    order = [garbage.name for garbage in collect_garbage(store, keep=1).objects]
    assert order[: len(gone) + 1] == [*gone, "versions/000001.json"]
    assert exports_of(store, 1) == []
    assert exports_of(store, 3) == kept
    assert store.exists("exports/wids/mine/notes.txt")
    # And what an older release left of a version that is gone.
    store.put(gone[0], b"{}")
    assert [(garbage.why, garbage.name) for garbage in find_garbage(store)] == [("export", gone[0])]


def test_a_damaged_version_is_listed_and_can_be_withdrawn(config: BuildConfig) -> None:
    store = Store(config.dataset)
    damage(store, 2)
    first, second, third = summarize_versions(store)
    assert (first.fault, third.fault) == (None, None)
    assert second.fault is not None
    assert "versions/000002.json is damaged" in second.fault
    assert third.new_shards == third.shards
    with pytest.raises(
        UserError, match=r"000002.json is damaged.*gc --keep 1 withdraws it, and those before"
    ):
        find_garbage(store)
    with pytest.raises(UserError, match="gc --keep 1 withdraws it"):
        find_garbage(store, keep=2)
    collect_garbage(store, keep=1)
    assert list_versions(store) == [3]
    assert verify(store, read_version(store)).faults == ()
    # What it alone named goes with age, as what was never named.
    assert {garbage.why for garbage in find_garbage(store, young_s=0)} == {"shard", "catalog"}


def test_of_a_damaged_newest_version_it_is_said_that_nothing_is_removed(config: BuildConfig) -> None:
    store = Store(config.dataset)
    damage(store, 3)
    with pytest.raises(UserError, match=r"nothing is removed; it is the newest, which gc keeps"):
        collect_garbage(store, keep=1)


def test_what_shows_that_a_bucket_knows_conditions_is_no_garbage(config: BuildConfig) -> None:
    store = Store(config.dataset)
    store.put(PROBE, b"\n")
    store.put(".tmp/1-0-0badcafe", b"half of something")
    assert [garbage.name for garbage in find_garbage(store, young_s=0)] == [".tmp/1-0-0badcafe"]


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"curate": {"rules": [["a", "x"]]}}, {"curate": {"rules": [["a", "x"]]}}, []),
        ({"rules": [["a", "x"], ["b", "y"]]}, {"rules": [["b", "y"], ["a", "x"]]}, ["rules"]),
        ({"rules": []}, {"rules": [["a", "x"]]}, ["rules.a"]),
        (
            {"curate": {"rules": [["a", "x"], ["b", "y"]], "seed": 0}},
            {"curate": {"rules": [["a", "z"], ["c", "y"]], "seed": 0}},
            ["curate.rules.a", "curate.rules.b", "curate.rules.c"],
        ),
        ({"titles": None}, {"titles": {"keywords": ["a"]}, "wide": False}, ["titles", "wide"]),
    ],
)
def test_what_was_set_otherwise(before: dict[str, Any], after: dict[str, Any], changed: list[str]) -> None:
    assert list(changed_settings(before, after)) == changed


def test_versions_tell_their_recipe_and_nothing_is_cut(config: BuildConfig) -> None:
    told = json.loads(genieset("versions", config.dataset, "--json").stdout)
    assert [one["changed"] for one in told] == [None, [], ["curate.rules.static"]]
    assert [one["recipe"] for one in told] == [
        read_version(Store(config.dataset), number).recipe for number in (1, 2, 3)
    ]
    damage(Store(config.dataset), 2)
    table = genieset("versions", config.dataset).stdout
    for one in told:
        assert (one["hash"][:8] in table) == (one["number"] != 2)
        assert (f"{one['bytes']:,}" in table) == (one["number"] != 2)
    assert "\N{HORIZONTAL ELLIPSIS}" not in table
    assert "versions/000002.json is damaged" in table
    # Its parent cannot be read.
    assert "curate.rules.static" not in table


def genieset(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_commands_tell_before_they_remove(config: BuildConfig) -> None:
    listed = json.loads(genieset("versions", config.dataset, "--json").stdout)
    assert [one["number"] for one in listed] == [1, 2, 3]
    table = genieset("versions", config.dataset).stdout
    assert "curate.rules.static" in table
    assert table.splitlines()[-1] == (
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
