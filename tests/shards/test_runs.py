"""Who is at work: who minds whom, who is dead, and what is told of either."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from platform import node
from typing import Any

import pytest

from bench.synthetic import config_of, write_packs
from commands.classifying import train
from commands.exporting import export
from commands.labelling import label
from pipeline.build import curate, publish
from pipeline.verify import verify_dataset
from shards.errors import UserError
from shards.manifest import list_versions
from shards.runs import SILENT_S, Work, Writing, announce, living, writing
from shards.store import Store
from tests.faults.killable import Inline
from tests.quiet import Quiet

ROOT = Path(__file__).parents[2]
OTHERS = "runs/build-7-0badcafe.json"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "set")
    store.put("config.json", b"{}")
    store.put("packs/a", b"")
    return store


def from_elsewhere(store: Store, silent_s: float = 0.0, **told: Any) -> None:
    """A build of another machine is at work, and was last heard of so long ago."""
    now = time.time() - silent_s
    body = {"machine": "another", "host": "node-3", "pid": 7, "started": "1", "begun": now - 60, "at": now}
    store.put(OTHERS, json.dumps(body | told).encode())
    os.utime(store.path(OTHERS), (now, now))


def test_what_is_in_the_way_is_told_with_the_way_on(store: Store) -> None:
    from_elsewhere(store, 600)
    place = re.escape(str(store.path(OTHERS)))
    with (
        pytest.raises(
            UserError,
            match=r"a build is at work there \(process 7 on node-3, since \d{4}-\d\d-\d\dT[0-9:]{8}\+00:00, "
            rf"heard of 10 min ago\); wait for its end, or if it is dead, delete {place}$",
        ),
        announce(store, "gc"),
    ):
        pass
    assert store.list("runs") == [OTHERS]


def test_of_another_machine_a_run_is_dead_when_it_is_silent_for_an_hour(store: Store) -> None:
    from_elsewhere(store, SILENT_S - 60)
    assert list(living(store)) == [OTHERS]
    # Its clock may be slow: when its object was written counts, too.
    from_elsewhere(store, at=time.time() - 2 * SILENT_S)
    assert list(living(store)) == [OTHERS]
    from_elsewhere(store, SILENT_S + 60)
    assert living(store) == {}
    assert store.list("runs") == []


def test_a_run_of_the_release_before_is_understood(store: Store) -> None:
    body = {"work": "build", "at": time.time(), "machine": "another", "pid": 7, "started": "1"}
    store.put(OTHERS, json.dumps(body).encode())
    with pytest.raises(UserError, match="process 7 on another machine"), announce(store, "gc"):
        pass


def test_a_run_that_was_killed_is_at_work_no_more(store: Store) -> None:
    program = (
        "import sys; from shards.runs import announce; from shards.store import Store\n"
        "with announce(Store(sys.argv[1]), 'build'): print('begun', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, store.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        told = rf"a build is at work there \(process {process.pid} on {re.escape(node())}, "
        with pytest.raises(UserError, match=told), announce(store, "gc"):
            pass
        process.send_signal(signal.SIGKILL)
    assert len(store.list("runs")) == 1
    with announce(store, "gc") as run:
        assert store.list("runs") == [run.name]
    assert store.list("runs") == []


def test_a_run_says_that_it_lives_whatever_it_is_busy_with(store: Store) -> None:
    with announce(store, "build", beat_s=0.01) as run:
        (begun,) = living(store).values()
        give_up = time.monotonic() + 60
        while living(store)[run.name].at == begun.at:
            assert time.monotonic() < give_up
        assert living(store)[run.name].begun == begun.begun
    assert store.list("runs") == []


def test_a_run_that_was_taken_for_dead_does_not_come_back(store: Store) -> None:
    with announce(store, "build") as run:
        run.check()
        store.remove(run.name)
        run.check(known_s=3600)
        run.beat()
        assert store.list("runs") == []
        with pytest.raises(UserError, match=r"taken for dead.*run the same command again"):
            run.check()


def test_a_build_that_was_taken_for_dead_publishes_nothing(tmp_path: Path) -> None:
    config = config_of(tmp_path / "set", {"train": 1.0}, max_bytes=90_000)
    write_packs(config, range(2))
    store = Store(config.dataset)
    selection = curate(config)

    class TakenForDead(Quiet):
        def step(self, stage: str, done: int, total: int, what: str) -> None:
            for name in store.list("runs"):
                store.remove(name)

    with pytest.raises(UserError, match="taken for dead"):
        publish(config, selection, Inline(), TakenForDead())
    assert list_versions(store) == []
    assert publish(config, selection, Inline(), Quiet()).number == 1


@pytest.mark.parametrize("name", [".DS_Store", "build-7-0badcafe.json.swp", "dream-7-0badcafe.json"])
def test_what_is_not_of_ours_is_not_looked_at(name: str, store: Store) -> None:
    store.put(f"runs/{name}", b"\x00\x01")
    with announce(store, "gc"):
        assert len(living(store)) == 1
    assert store.list("runs") == [f"runs/{name}"]


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{}", b'{"machine": "a", "pid": "x", "at": 1}'])
def test_one_that_is_damaged_is_named(data: bytes, store: Store) -> None:
    store.put(OTHERS, data)
    with (
        pytest.raises(UserError, match=r"runs/build-7-0badcafe\.json: cannot be read; .* delete it$"),
        announce(store, "gc"),
    ):
        pass
    assert store.list("runs") == [OTHERS]


@pytest.mark.parametrize("work", ["export", "label", "classifier", "verify"])
def test_forgetting_and_who_writes_wait_for_each_other(work: Writing, store: Store) -> None:
    with writing(store, work):
        with pytest.raises(UserError, match=f"genieset {work} is at work there"), announce(store, "forget"):
            pass
        # They mind nobody else, and nobody minds them.
        others: tuple[Work, ...] = ("build", "gc")
        for other in others:
            with announce(store, other), writing(store, "export"):
                pass
    with (
        announce(store, "forget"),
        pytest.raises(UserError, match="genieset forget is at work there"),
        writing(store, work),
    ):
        pass
    assert store.list("runs") == []


def test_where_there_is_no_dataset_none_is_begun(tmp_path: Path) -> None:
    with writing(Store(tmp_path / "slip"), "label"):
        assert not (tmp_path / "slip").exists()


COMMANDS: dict[str, Callable[[str], object]] = {
    "export": lambda dataset: export(dataset, "wids"),
    "label": lambda dataset: label(dataset),
    "label --export": lambda dataset: label(dataset, export=True),
    "classifier train": lambda dataset: train(dataset, Path("labels.jsonl")),
    "verify": lambda dataset: verify_dataset(Store(dataset), Inline(), Quiet()),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_these_wait_for_the_end_of_forgetting(command: str, tmp_path: Path) -> None:
    config = config_of(tmp_path / "set", {"train": 1.0}, max_bytes=90_000)
    write_packs(config, range(1))
    publish(config, curate(config), Inline(), Quiet())
    store = Store(config.dataset)
    with announce(store, "forget"), pytest.raises(UserError, match="genieset forget is at work there"):
        COMMANDS[command](config.dataset)
    assert not {"exports", "labels", "classifiers", "reports"} & set(store.folders(""))
