"""The examples, as a user runs them: ranks and nodes are lost, and their number changes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shards.errors import UserError
from tests.faults.processes import marked, wait_until
from tests.faults.test_ray_killed import cluster, say
from trainer_bridge import batch_digests
from trainer_bridge.launch import placement

MakeDataset = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def small(make_dataset: MakeDataset) -> Path:
    """20 train shards of 1 to 4 clips."""
    chance = random.Random(3)
    lengths = [[chance.choice((16, 24, 48)) for _ in range(chance.randint(1, 4))] for _ in range(20)]
    return make_dataset([("train", clips) for clips in lengths], height=32, width=48)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, (0, 1)), ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)), ({"RANK": "3", "WORLD_SIZE": "8"}, (3, 8))],
)
def test_torchrun_s_place(
    environment: dict[str, str], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert placement() == expected


@pytest.mark.parametrize(
    ("rank", "world_size"), [("0", None), (None, "2"), ("2", "2"), ("-1", "2"), ("one", "2"), ("0", "")]
)
def test_half_a_place_is_told(
    rank: str | None, world_size: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", world_size)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"RANK and WORLD_SIZE: the environment has .* a launcher sets both"):
        placement()


@contextmanager
def running(
    *command: str | Path, cwd: Path, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command, and what stands in the environment of all it starts; nothing of it is left behind."""
    mark = uuid.uuid4().hex
    marks = {"PYTHONPATH": str(ROOT), "LAUNCHED_BY": mark, "OMP_NUM_THREADS": "1"}
    with (cwd / f"said-{mark}").open("w+") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=os.environ | marks | environment,
            text=True,
        )
        with process:
            try:
                yield process, mark
            finally:
                for pid in marked(mark):
                    os.kill(pid, signal.SIGKILL)


def finish(process: subprocess.Popen[str], cwd: Path) -> None:
    process.wait(timeout=200)
    assert process.returncode == 0, said(cwd)[-3000:]


def said(cwd: Path) -> str:
    return "\n".join(path.read_text() for path in cwd.glob("said-*"))


def lines(run: Path) -> list[str]:
    digests = run / "digests.txt"
    return digests.read_text().splitlines() if digests.exists() else []


def rank_of(pid: int) -> str | None:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((text[5:].decode() for text in variables if text.startswith(b"RANK=")), None)


def assert_one_sequence(run: Path, dataset: Path, steps: int) -> None:
    """Every step is there; one that was done before a kill, and again after it, was the same."""
    numbered = [(int(number), digest) for number, digest in map(str.split, lines(run))]
    expected = list(batch_digests(dataset, batch_size=8, steps=steps))
    assert sorted(set(numbered)) == list(enumerate(expected))


def test_torchrun_loses_a_rank_and_goes_on_with_one(small: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    example = [ROOT / "examples" / "train_torchrun.py", small, run]
    two = [*torchrun, "--nproc-per-node", "2", "--max-restarts", "1", *example, "--steps", "60"]
    # Else the ranks that are started anew meet what those before them left in the launcher's store.
    with running(*two, cwd=tmp_path, TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1") as (process, mark):
        wait_until(lambda: process.poll() is not None or len(lines(run)) > 5, "some steps")
        victims = [pid for pid in marked(mark) if rank_of(pid) == "1"]
        assert victims
        os.kill(victims[0], signal.SIGKILL)
        finish(process, tmp_path)
        wait_until(lambda: not marked(mark), lambda: f"the end of {marked(mark)}")
    one = [*torchrun, "--nproc-per-node", "1", *example, "--steps", "64"]
    with running(*one, cwd=tmp_path) as (process, _):
        finish(process, tmp_path)
    assert_one_sequence(run, small, 64)


@pytest.mark.long
def test_ray_train_loses_a_node_and_goes_on_with_the_other(small: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # Sockets lie below it, whose names the kernel limits to 107 characters.
    scratch = Path(tempfile.mkdtemp(dir="/tmp"))
    # The nodes have another working folder than whoever starts the training.
    example = [sys.executable, ROOT / "examples" / "train_ray.py"]
    example += [os.path.relpath(small, tmp_path), "run", "--steps", "6"]
    quiet = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": str(scratch)}
    quiet |= {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}  # so often reports are looked for
    with (
        cluster(scratch) as (nodes, address),
        running(*example, cwd=tmp_path, RAY_ADDRESS=address, **quiet) as (process, _),
    ):
        # Starting takes Ray so long that each stage of it is waited for by itself.
        for stage in ("Requesting resources", "worker group of size 2", "Wrapping provided model"):
            wait_until(lambda stage=stage: process.poll() is not None or stage in said(tmp_path), stage)
        wait_until(lambda: process.poll() is not None or len(lines(run)) > 1, "some steps")
        say(nodes, "kill")
        finish(process, tmp_path)
    wait_until(lambda: not marked(str(scratch)), lambda: f"the end of {marked(str(scratch))}")
    shutil.rmtree(scratch)
    assert "worker group of size 1" in said(tmp_path)
    assert_one_sequence(run, small, 6)
