"""Trainings whose ranks are killed at random, and that go on with another number of ranks."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.processes import marked, wait_until
from tests.trainer_bridge.rank_driver import BATCH_SIZE, SEED, light
from trainer_bridge import batch_digests
from trainer_bridge.batches import batch_digest

MakeDataset = Callable[..., Path]
Books = dict[int, list[tuple[str, int, int]]]
"""The windows of each global step that all ranks have done, and the CRC-32 of their pixels."""

MOMENTS = ("a step is asked for", "some ranks have done the step", "the state is being saved")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unequal(make_dataset: MakeDataset) -> Path:
    """44 train shards of 1 to 5 clips, some too short for a window: three blocks of the order."""
    chance = random.Random(5)
    shards = [
        ("train", [chance.choice((12, 16, 24, 48, 64)) for _ in range(chance.randint(1, 5))])
        for _ in range(43)
    ]
    return make_dataset([*shards, ("train", [160]), ("val", [32])], height=32, width=48)


class Ranks:
    """The ranks of one sitting, each a process of its own, that take their steps together."""

    def __init__(self, kind: str, dataset: Path, state: Path, world_size: int, mark: str) -> None:
        self._open = ExitStack()
        command = [sys.executable, "-m", "tests.trainer_bridge.rank_driver", kind, str(dataset), str(state)]
        self.processes = [
            self._open.enter_context(
                subprocess.Popen(
                    [*command, str(rank), str(world_size)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd=ROOT,
                    env=os.environ | {"PYTHONPATH": str(ROOT), "RANKS_OF": mark},
                    text=True,
                )
            )
            for rank in range(world_size)
        ]

    def ask(self, what: str, ranks: Sequence[int]) -> None:
        for rank in ranks:
            stdin = self.processes[rank].stdin
            assert stdin
            stdin.write(f"{what}\n")
            stdin.flush()

    def answer(self, rank: int) -> Any:
        stdout = self.processes[rank].stdout
        assert stdout
        line = stdout.readline()
        assert line, f"rank {rank} has ended with {self.processes[rank].wait()}"
        return json.loads(line)

    def die(self, first: int) -> None:
        """SIGKILL one rank, then the others, as launchers do once one is lost."""
        everyone = range(len(self.processes))
        for rank in (first, *everyone):
            self.processes[rank].kill()
        self._open.close()
        assert {process.returncode for process in self.processes} == {-9}


@pytest.fixture
def mark() -> Iterator[str]:
    """What stands in the environment of every process of a training; none of them is left behind."""
    text = uuid.uuid4().hex
    yield text
    for pid in marked(text):
        os.kill(pid, signal.SIGKILL)


def sitting(ranks: Ranks, books: Books, state: Path, steps: int, moment: str, chance: random.Random) -> None:
    """Take that many steps, and lose a rank at a moment of the next one; what is done is written down."""
    everyone = range(len(ranks.processes))
    victim = chance.choice(everyone)
    for number in range(steps + 1):
        step = json.loads(state.read_text())["step"] if state.exists() else 0
        ranks.ask("step", everyone)
        if number == steps and moment != MOMENTS[2]:
            done = chance.randrange(len(everyone)) if moment == MOMENTS[1] else 0
            for rank in chance.sample(everyone, done):
                ranks.answer(rank)
            return ranks.die(victim)
        windows = sorted(tuple(window) for rank in everyone for window in ranks.answer(rank))
        # A step that was done before the kill, but not saved, is done again: it is the same.
        assert books.setdefault(step, windows) == windows
        ranks.ask("save", [0])
        if number == steps:
            return ranks.die(0)
        assert ranks.answer(0) is True
    return None


def digests(books: Books) -> list[str]:
    assert list(books) == list(range(len(books))), "steps were left out, or done out of turn"
    return [batch_digest((key, start) for key, start, _ in windows) for windows in books.values()]


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_and_resumed_on_other_numbers_of_ranks(
    unequal: Path, tmp_path: Path, mark: str, seed: int
) -> None:
    chance = random.Random(seed)
    books: Books = {}
    state = tmp_path / "state.json"
    worlds = [1, 2, 4, 8]
    chance.shuffle(worlds)
    for number, world_size in enumerate(worlds):
        ranks = Ranks("light", unequal, state, world_size, mark)
        sitting(ranks, books, state, chance.randint(5, 20), MOMENTS[(seed + number) % 3], chance)
    assert digests(books) == list(batch_digests(unequal, batch_size=BATCH_SIZE, seed=SEED, steps=len(books)))
    take, _ = light(str(unequal), None, 0, 1)
    assert [sorted(take()) for _ in books] == list(books.values())
    assert not marked(mark)


def test_a_stream_with_workers_is_killed_and_resumed(unequal: Path, tmp_path: Path, mark: str) -> None:
    chance = random.Random(2)
    books: Books = {}
    state = tmp_path / "state.json"
    for moment, world_size in ((MOMENTS[1], 2), (MOMENTS[2], 1)):
        ranks = Ranks("stream", unequal, state, world_size, mark)
        sitting(ranks, books, state, chance.randint(2, 6), moment, chance)
    assert digests(books) == list(batch_digests(unequal, batch_size=BATCH_SIZE, seed=SEED, steps=len(books)))
    # Workers see that the process they read for is gone.
    wait_until(lambda: not marked(mark), lambda: f"still there: {marked(mark)}")
