"""Places on a node: who holds one, and that the dead do not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.engine import Part
from pipeline.engine.places import Places
from tests.faults.processes import wait_until

ROOT = Path(__file__).parents[2]

HOLDER = """
import sys
from pathlib import Path
from pipeline.engine import Part
from pipeline.engine.places import Places
with Places(Path(sys.argv[1]), 1).stay() as enter:
    enter(Part(1, sys.argv[2], int(sys.argv[3])))
    print("here", flush=True)
    sys.stdin.read()
"""


class Holder:
    """A process that holds a place; `begins` waits until it does."""

    def __init__(self, folder: Path, side: str = "cpu", scratch_bytes: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), side, str(scratch_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        self.here = threading.Event()
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()

    def _listen(self) -> None:
        assert self.process.stdout
        if self.process.stdout.readline() == "here\n":
            self.here.set()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._reader.join()


@pytest.fixture
def holders() -> Iterator[list[Holder]]:
    held: list[Holder] = []
    yield held
    for holder in held:
        holder.close()


def test_a_core_is_held_by_one_and_freed_by_its_death(tmp_path: Path, holders: list[Holder]) -> None:
    holders += [Holder(tmp_path), Holder(tmp_path)]
    wait_until(lambda: any(holder.here.is_set() for holder in holders), "one to get the core")
    first, second = sorted(holders, key=lambda holder: not holder.here.is_set())
    assert not second.here.is_set()
    os.kill(first.process.pid, signal.SIGKILL)
    wait_until(second.here.is_set, "the other to get the core")


def test_the_network_needs_no_core(tmp_path: Path, holders: list[Holder]) -> None:
    holders.append(Holder(tmp_path))
    wait_until(holders[0].here.is_set, "the core to be taken")
    with Places(tmp_path, 1).stay() as enter:
        enter(Part(1.0, "network"))


def test_a_core_is_given_up_for_the_next_part(tmp_path: Path, holders: list[Holder]) -> None:
    with Places(tmp_path, 1).stay() as enter:
        enter(Part(1.0))
        enter(Part(1.0))  # it would wait for itself
        enter(Part(1.0, "network"))
        holders.append(Holder(tmp_path))
        wait_until(holders[0].here.is_set, "the core that is free now")


def test_room_that_is_promised_is_not_promised_twice(tmp_path: Path, holders: list[Holder]) -> None:
    most = shutil.disk_usage(tempfile.gettempdir()).free // 2
    holders.append(Holder(tmp_path, "network", most))
    wait_until(holders[0].here.is_set, "the first, who is alone")
    holders.append(Holder(tmp_path, "network", most))
    holders.append(Holder(tmp_path, "network", 1000))
    wait_until(holders[2].here.is_set, "one who needs little")
    assert not holders[1].here.is_set()
    # The one who needs little is gone before there is room for the one that waits.
    for holder in (holders[2], holders[0]):
        os.kill(holder.process.pid, signal.SIGKILL)
        holder.process.wait()
    wait_until(holders[1].here.is_set, "the one that waited")
    leases = [path for path in tmp_path.iterdir() if path.name.startswith("room-")]
    assert len(leases) == 1, "what the dead were promised is forgotten"


def test_who_is_alone_begins_though_there_is_no_room(tmp_path: Path) -> None:
    with Places(tmp_path, 1).stay() as enter:
        enter(Part(1.0, "network", 2**60))
    assert not list(tmp_path.glob("room-*"))
