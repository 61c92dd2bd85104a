"""A garbage collection that is killed at any of its storage operations leaves what is left complete.

At a sample of them, unless `--every-kill` asks for each; see `tests.faults.points`.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shards.manifest import list_versions, read_version
from shards.store import Store
from shards.verify import verify
from tests.faults.books import contents, faults_in
from tests.faults.killer import Killer
from tests.faults.points import kill_points

WriteBuild = Callable[..., Path]


@pytest.fixture(scope="module")
def base(killer: Killer, write_build: WriteBuild, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two versions, one of which is without a video of the other, and garbage of every kind."""
    dataset = tmp_path_factory.mktemp("base") / "set"
    assert killer.build(write_build(dataset, "first")).exit_code == 0
    assert killer.build(write_build(dataset, "later")).exit_code == 0
    assert list_versions(Store(dataset)) == [1, 2]
    first = read_version(Store(dataset), 1).shards[0].name
    for suffix in (".tar", ".parquet"):
        source = dataset / first.replace(".tar", suffix)
        shutil.copy2(source, source.with_name(f"train-000007-{source.stem[-8:]}{suffix}"))
    pack = next((dataset / "packs").glob("*.tar"))
    for folder in (dataset / "packs", *(dataset / "scores").iterdir()):
        for path in sorted(folder.glob(f"{pack.stem}*")):
            orphan = path.name.replace(pack.stem, f"{pack.stem[:-8]}0badcafe")
            shutil.copy2(path, folder / orphan)
    (dataset / ".tmp" / "1-0-0badcafe").write_bytes(b"half of something")
    # What dies before a version is written leaves a catalog.
    catalog = next((dataset / "catalog/clips").glob("000002-*"))
    shutil.copy2(catalog, catalog.with_name("000003-0badcafe-0badcafe.parquet"))
    (dataset / "packs" / "notes.txt").write_text("of a person")
    return dataset


def test_a_collection_removes_what_nothing_names(
    base: Path, killer: Killer, write_build: WriteBuild, tmp_path: Path
) -> None:
    dataset = tmp_path / "set"
    shutil.copytree(base, dataset)
    assert killer.collect(write_build(dataset, "later")).exit_code == 0
    left = contents(dataset)
    assert not [name for name in left if "0badcafe" in name or "000007" in name]
    assert not list((dataset / ".tmp").iterdir())
    assert "packs/notes.txt" in left
    assert list_versions(Store(dataset)) == [2]
    version = read_version(Store(dataset))
    assert {name for name in left if name.endswith(".tar") and name.startswith("shards/")} == {
        entry.name for entry in version.shards
    }
    assert faults_in(dataset) == []
    assert verify(Store(dataset), version).faults == ()
    # Every commit still has its pack: what it stands for can be published again.
    assert killer.build(write_build(dataset, "first")).exit_code == 0
    assert faults_in(dataset) == []


def test_killed_at_any_operation_every_version_that_is_left_is_complete(
    base: Path, killer: Killer, write_build: WriteBuild, every_kill: bool, tmp_path: Path
) -> None:
    dataset = tmp_path / "set"
    shutil.copytree(base, dataset)
    undisturbed = killer.collect(write_build(dataset, "later"))
    expected = contents(dataset)
    operations = undisturbed.operations
    points = kill_points(operations, every_kill)
    assert sum(operation.startswith("remove") for operation in operations) > 15
    print(f"killed at {len(points)} of {len(operations)} operations")
    faults = []
    for number in points:
        shutil.rmtree(dataset)
        shutil.copytree(base, dataset)
        config = write_build(dataset, "later")
        killed = killer.collect(config, kill_at=number)
        assert killed.signal == signal.SIGKILL
        assert killed.operations == operations[:number]
        what = f"killed at {number} ({operations[number - 1]})"
        faults += [f"{what}: {fault}" for fault in _faults(dataset)]
        again = killer.collect(config)
        faults += [] if again.exit_code == 0 else [f"{what}, again: {again}"]
        faults += [f"{what}, again: {fault}" for fault in faults_in(dataset)]
        faults += [] if contents(dataset) == expected else [f"{what}: another end"]
        assert not list((dataset / "runs").iterdir())
    assert not faults, "\n".join(faults)


def _faults(dataset: Path) -> Iterator[str]:
    yield from faults_in(dataset)
    if 2 not in list_versions(Store(dataset)):
        yield "the version to keep is gone"
