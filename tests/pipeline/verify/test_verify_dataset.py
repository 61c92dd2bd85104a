"""Whatever is damaged in a dataset is found, and located."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.build import build
from pipeline.config import load_config
from pipeline.engine import Done, NotYet, Outcome, Part, Work
from pipeline.engine.child import OneChild
from pipeline.verify import Report, verify_dataset
from shards.checks.faults import Fault
from shards.errors import UserError
from shards.manifest import read_version
from shards.store import Store
from tests.pipeline.verify.planting import Plant, Planted, flip
from tests.pipeline.verify.plants import all_plants
from tests.quiet import Quiet

# webdataset leaves what it opens to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Here:
    """An engine that is this process, and may be stopped after so many units."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.units = 0

    def run(
        self,
        function: Work[Any, Any],
        units: Iterable[Any | NotYet],
        first: Callable[[Any], Part],
        *,
        alone: bool = False,
    ) -> Iterator[tuple[Any, Outcome[Any]]]:
        for unit in units:
            if self.units == self.stop_after:
                raise KeyboardInterrupt
            self.units += 1
            assert first(unit).deadline_s > 0
            yield unit, Done(function(unit))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, make_video: Any) -> Path:
    """Three videos of two clips each, in three shards, with wide frames."""
    folder = tmp_path_factory.mktemp("videos")
    for seed in range(3):
        source = f"testsrc2=size=64x36:rate=15:duration={33 + seed}"
        shutil.copy(make_video(f"moving{seed}.mp4", source, vf=f"hue=h={60 * seed}"), folder)
    root = tmp_path_factory.mktemp("sound")
    config = root / "build.yaml"
    config.write_text(
        json.dumps(
            {
                "dataset": str(root / "set"),
                "sources": [{"kind": "files", "path": str(folder)}],
                "titles": None,
                "scorers": ["motion", "cuts"],
                "frame": {"wide": True},
                "curate": {"rules": {"static": "motion >= 0"}, "splits": {"train": 0.5, "val": 0.5}},
                "shards": {"max_bytes": "400kB"},
            }
        )
    )
    build(load_config(config), OneChild(), Quiet())
    assert len(read_version(Store(root / "set")).shards) >= 2
    return root / "set"


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Store:
    """A copy, to be damaged."""
    return Store(shutil.copytree(sound, tmp_path / "set"))


def _check(store: Store, **options: Any) -> Report:
    return verify_dataset(store, Here(), Quiet(), number=1, **options)


def _locates(fault: Fault, planted: Planted) -> bool:
    if fault.object != planted.object or planted.at not in (fault.at or ""):
        return False
    if planted.start is None or planted.end is None:
        return True
    if fault.start_byte is None or fault.end_byte is None:
        return False
    return fault.start_byte <= planted.start and planted.end <= fault.end_byte


def test_a_sound_dataset_has_no_fault(store: Store) -> None:
    report = _check(store)
    assert report.verified.faults == ()
    shards = len(read_version(store).shards)
    assert (report.verified.shards, report.verified.samples, report.verified.decoded) == (shards, 6, 6)
    assert (report.packs, report.noted) == (3, 0)
    assert _check(store, sample=4).verified.decoded == 4
    assert _check(store, staged=False).packs == 0
    # Of a mirror that holds what was published and no more, that is all there is to check.
    for name in (
        "packs",
        "commits",
        "scores",
        "candidates",
        "config.json",
        "attempts",
        "catalog/clips/curated.parquet",
    ):
        path = store.path(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    assert _check(store).verified.faults == ()


def test_every_kind_of_damage_is_found_and_located(sound: Path, tmp_path: Path) -> None:
    rows = [_planted_row(sound, tmp_path / f"{number}", *one) for number, one in enumerate(all_plants())]
    width = max(len(name) for name, *_ in rows)
    print()
    print(f"{'planted':<{width}}  found  where")
    for name, found, where in rows:
        print(f"{name:<{width}}  {'yes' if found else 'NO':<5}  {where}")
    print(f"{len(rows)} planted, {sum(found for _, found, _ in rows)} found and located")
    assert [name for name, found, _ in rows if not found] == []


def _planted_row(sound: Path, folder: Path, name: str, plant: Plant) -> tuple[str, bool, str]:
    store = Store(shutil.copytree(sound, folder))
    planted = plant(store)
    faults = _check(store).verified.faults
    shutil.rmtree(folder)
    assert all("\n" not in str(fault) and len(str(fault)) < 1000 for fault in faults)
    located = [fault for fault in faults if _locates(fault, planted)]
    told = located or faults
    return name, bool(located), str(min(told, key=_span)) if told else "-"


def _span(fault: Fault) -> float:
    """Of several that tell the same, the closest first."""
    return (fault.end_byte or 0) - fault.start_byte if fault.start_byte is not None else float("inf")


WRITER = re.compile(rb"parquet-cpp-arrow version ([0-9.]+)")


@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), data=st.data())
@settings(max_examples=100)
def test_any_single_bit_is_found(sound: Path, share: float, bit: int, data: st.DataObject) -> None:
    store = Store(sound)
    version = read_version(store, 1)
    folders = (
        "versions",
        "shards",
        "catalog/videos",
        "catalog/clips",
        "packs",
        "scores/motion-1",
        "scores/cuts-1",
    )
    name = data.draw(st.sampled_from([name for folder in folders for name in store.list(folder)]))
    sound_bytes = store.read(name)
    place = int(share * len(sound_bytes))
    hashed = name.startswith(("versions", "shards", "catalog")) and "curated" not in name
    writer = WRITER.search(sound_bytes)
    if not hashed and writer and writer.start(1) <= place < writer.end(1):
        return  # which release wrote the rows is no part of them
    planted = flip(store, name, place, bit)
    try:
        faults = _check(store, sample=0).verified.faults
    finally:
        store.path(name).write_bytes(sound_bytes)
    assert name in {fault.object for fault in faults}, faults
    if name.endswith(".tar"):
        assert {fault.object for fault in faults} == {name}
        assert any(_locates(fault, planted) for fault in faults), (planted, faults)
        # What is known byte for byte, or by a checksum and a hash, is told to the byte.
        assert any((fault.start_byte, fault.end_byte) == (place, place + 1) for fault in faults), faults
    elif not name.startswith("versions"):
        assert {fault.object for fault in faults} == {name}
    assert version == read_version(store, 1)


def test_an_interrupted_verify_goes_on_and_a_finished_one_begins_anew(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        verify_dataset(store, Here(stop_after=5), Quiet())
    again = Here()
    report = verify_dataset(store, again, Quiet())
    assert (report.noted, report.verified.faults) == (3, ())
    assert report.verified.decoded == 6
    assert verify_dataset(store, Here(), Quiet()).noted == 0


def test_what_changed_since_the_interruption_is_looked_at_again(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        verify_dataset(store, Here(stop_after=5), Quiet())
    name = read_version(store).shards[0].name
    flip(store, name, 700, 0)
    assert {fault.object for fault in verify_dataset(store, Here(), Quiet()).verified.faults} == {name}


def test_notes_are_not_trusted_when_they_should_not_be(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        verify_dataset(store, Here(stop_after=5), Quiet())
    notes = sorted(store.path("reports/verify").glob("*/*.json"))
    assert len(notes) == 3
    notes[0].write_text("not JSON")
    notes[1].write_text(json.dumps(json.loads(notes[1].read_text()) | {"at": 0}))
    assert verify_dataset(store, Here(), Quiet()).noted == 1
    with pytest.raises(KeyboardInterrupt):
        verify_dataset(store, Here(stop_after=5), Quiet())
    assert verify_dataset(store, Here(), Quiet(), fresh=True).noted == 0
    # Notes of a sampled run say nothing of a full one.
    with pytest.raises(KeyboardInterrupt):
        verify_dataset(store, Here(stop_after=5), Quiet(), sample=1)
    assert verify_dataset(store, Here(), Quiet()).verified.decoded == 6


def test_no_version_is_one_line(tmp_path: Path, store: Store) -> None:
    with pytest.raises(UserError, match="nothing is published"):
        verify_dataset(Store(tmp_path / "none"), Here(), Quiet())
    with pytest.raises(UserError, match="no version 7"):
        verify_dataset(store, Here(), Quiet(), number=7)


def test_an_object_that_is_no_version_hides_no_other(store: Store) -> None:
    store.put("versions/000009.json", b"x")
    name = read_version(store, 1).shards[0].name
    flip(store, name, store.size_bytes(name) // 3, 2)
    found = verify_dataset(store, Here(), Quiet(), staged=False).verified
    assert (found.version, found.samples) == (1, 6)
    assert [fault.object for fault in found.faults] == ["versions/000009.json", name]


def test_the_command_tells_the_object_and_byte(store: Store) -> None:
    name = read_version(store).shards[0].name
    size = store.size_bytes(name)
    flip(store, name, size // 3, 2)
    code, told = _command(store, "--jobs", "1")
    assert code == 1
    assert f"{name}, " in told
    assert f"byte {size // 3}: " in told
    assert told.splitlines()[-1].endswith("6 clips, 5 decoded, 3 packs, 1 faults")
    for jobs in (1, 2):
        code, told = _command(store, "--jobs", str(jobs), "--json")
        assert code == 1
        (fault,) = json.loads(told)["faults"]
        assert (fault["object"], fault["start_byte"], fault["end_byte"]) == (name, size // 3, size // 3 + 1)


def _command(store: Store, *options: str) -> tuple[int, str]:
    command = [sys.executable, "genieset.py", "verify", str(store.root), *options]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout
