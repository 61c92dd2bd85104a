"""A build that is killed at any of its storage operations and run again ends with the same bytes.

At a sample of them, unless `--every-kill` asks for each; see `tests.faults.points`.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from shards.manifest import read_version
from shards.store import Store
from shards.verify import verify
from tests.faults.books import contents, faults_in
from tests.faults.killer import Killer, Run
from tests.faults.points import kill_points

WriteBuild = Callable[..., Path]

WORKERS = 2


@dataclass(frozen=True)
class Case:
    """A build that is to be killed.

    Attributes:
        base: the dataset it begins with, or None.
        folders: its sources.
        undisturbed: what it did when nobody killed it.
        expected: what the dataset held then.
    """

    base: Path | None
    folders: tuple[str, ...]
    undisturbed: Run
    expected: dict[str, str]


@pytest.fixture(scope="module")
def killers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Killer]]:
    scratch = tmp_path_factory.mktemp("scratch")
    with Killer(scratch / "0") as one, Killer(scratch / "1") as other:
        yield [one, other]


@pytest.fixture(scope="module")
def cases(
    killers: list[Killer], write_build: WriteBuild, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Case]:
    """`new`: the first build of a dataset; `grown`: one that finds more and publishes version 2."""
    root = tmp_path_factory.mktemp("undisturbed")
    new, grown = root / "new", root / "grown"
    first = killers[0].build(write_build(new, "first"))
    shutil.copytree(new, grown)
    second = killers[0].build(write_build(grown, "first", "later"))
    return {
        "new": Case(None, ("first",), first, contents(new)),
        "grown": Case(new, ("first", "later"), second, contents(grown)),
    }


def test_the_builds_have_a_bit_of_everything(cases: dict[str, Case], tmp_path: Path) -> None:
    for case in cases.values():
        assert (case.undisturbed.signal, case.undisturbed.exit_code) == (None, 0)
    base = cases["grown"].base
    assert base
    assert faults_in(base) == []
    version = json.loads((base / "versions/000001.json").read_bytes())
    assert version["splits"].keys() == {"train", "val"}
    assert len(version["shards"]) == 3
    ends = {json.loads(path.read_bytes())["state"] for path in (base / "commits").iterdir()}
    assert ends == {"ingested", "rejected:too_short", "failed:unreadable"}
    assert "versions/000002.json" in cases["grown"].expected


@pytest.mark.parametrize("name", ["new", "grown"])
def test_killed_at_any_operation_and_run_again(
    name: str,
    cases: dict[str, Case],
    killers: list[Killer],
    write_build: WriteBuild,
    every_kill: bool,
    tmp_path: Path,
) -> None:
    case = cases[name]
    operations = case.undisturbed.operations
    points = kill_points(operations, every_kill)

    def kill_some(worker: int) -> dict[int, list[str]]:
        found = {}
        for number in points[worker::WORKERS]:
            dataset = tmp_path / f"killed-{number:03d}"
            found[number] = list(_kill_and_repeat(killers[worker], write_build, case, dataset, number))
            shutil.rmtree(dataset)
        return found

    with ThreadPoolExecutor(WORKERS) as pool:
        found = {
            number: faults for part in pool.map(kill_some, range(WORKERS)) for number, faults in part.items()
        }
    print(f"{name}: killed at {len(points)} of {len(operations)} operations")
    assert sorted(found) == points
    faults = [
        f"killed at {number} ({operations[number - 1]}): {fault}"
        for number in sorted(found)
        for fault in found[number]
    ]
    assert not faults, "\n".join(faults)


def test_one_operation_more_there_is_not(
    cases: dict[str, Case], killers: list[Killer], write_build: WriteBuild, tmp_path: Path
) -> None:
    """The count is right: a kill at the operation after the last one never comes."""
    case = cases["new"]
    run = killers[0].build(
        write_build(tmp_path / "set", *case.folders), kill_at=len(case.undisturbed.operations) + 1
    )
    assert (run.signal, run.exit_code, run.operations) == (None, 0, case.undisturbed.operations)
    store = Store(tmp_path / "set")
    assert verify(store, read_version(store)).faults == ()


def _kill_and_repeat(
    killer: Killer, write_build: WriteBuild, case: Case, dataset: Path, number: int
) -> Iterator[str]:
    if case.base:
        shutil.copytree(case.base, dataset)
    config = write_build(dataset, *case.folders)
    killed = killer.build(config, kill_at=number)
    if killed.signal != signal.SIGKILL:
        yield f"was not killed: signal {killed.signal}, exit code {killed.exit_code}"
    if killed.operations != case.undisturbed.operations[:number]:
        yield f"came another way: {killed.operations[-3:]}"
    yield from (f"after the kill: {fault}" for fault in faults_in(dataset))
    again = killer.build(config)
    if again.exit_code != 0:
        yield f"run again: signal {again.signal}, exit code {again.exit_code}"
    yield from (f"run again: {fault}" for fault in faults_in(dataset))
    ended = contents(dataset)
    for name in sorted(ended.keys() | case.expected.keys()):
        if ended.get(name) != case.expected.get(name):
            yield f"{name} differs (there {name in ended}, expected {name in case.expected})"
    yield from (f"a power cut now: {loss}" for loss in _could_be_lost(killed.log + again.log))


_STANDS_ON = {"commits": {"packs", "scores"}, "versions": {"shards", "catalog"}}


def _could_be_lost(log: list[str]) -> Iterator[str]:
    """What a commit or a version stands on, and would not outlive a power cut when that gets its name."""
    unsynced: set[str] = set()
    for event, _, name in (entry.partition(" ") for entry in log):
        if event == "sync-folder":
            unsynced = {other for other in unsynced if Path(other).parent.as_posix() != name}
        elif event in {"name", "folder"} and name != ".":
            needed = _STANDS_ON.get(name.split("/")[0], set()) if event == "name" else set()
            lost = sorted(other for other in unsynced if other.split("/")[0] in needed)
            yield from (f"{name} stays, {other} may be gone" for other in lost)
            unsynced.add(name)
