import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from shards.errors import UserError
from trainer_bridge import batch_digests
from trainer_bridge.config import TrainConfig
from trainer_bridge.metrics import MetricsLog, read_metrics
from trainer_bridge.train import train

MakeDataset = Callable[..., Path]
DRIVER = Path(__file__).with_name("kill_driver.py")


@pytest.fixture(scope="module")
def videos(make_dataset: MakeDataset) -> Path:
    return make_dataset([("train", [16, 16, 20]), ("train", [16, 16, 16])], height=32, width=40)


def config(videos: Path, run: Path, **changes: Any) -> TrainConfig:
    base = {
        "dataset": str(videos),
        "run": run,
        "model": "tiny-tokenizer",
        "batch_size": 2,
        "steps": 11,
        "window": 4,
        "learning_rate": 2e-3,
        "min_learning_rate": 1e-4,
        "warmup_steps": 3,
        "checkpoint_every": 3,
    }
    return TrainConfig.model_validate(base | changes)


def lines(run: Path) -> list[dict[str, Any]]:
    """The metrics less what a clock measured."""
    return [
        {name: value for name, value in line.items() if not name.endswith("_s")} for line in read_metrics(run)
    ]


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in run.glob("checkpoint*"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / checkpoints(run)[-1])


def assert_same_run(run: Path, other: Path) -> None:
    assert lines(run) == lines(other)
    ours, theirs = weights(run), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed")
    train(config(videos, run))
    return run


def test_a_run_leaves_metrics_and_two_checkpoints(videos: Path, undisturbed: Path) -> None:
    steps = read_metrics(undisturbed)
    assert [line["step"] for line in steps] == list(range(11))
    digests = list(batch_digests(videos, batch_size=2, window=4, steps=11))
    assert [line["windows"] for line in steps] == digests
    for line in steps:
        assert line.keys() >= {"loss", "reconstruction", "usage", "perplexity", "learning_rate"}
        assert all(phase in line for phase in ("read_s", "decode_s", "wait_s", "step_s"))
    assert checkpoints(undisturbed) == ["checkpoint-00000009.safetensors", "checkpoint-00000011.safetensors"]


def test_the_loss_falls(videos: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    result = train(
        config(videos, tmp_path, steps=40, batch_size=4, checkpoint_every=100),
        lambda metrics: seen.append(metrics["step"]),
    )
    assert seen == list(range(40))
    assert (result.steps, result.run) == (40, tmp_path)
    assert result.last_loss < result.first_loss / 3


def test_a_finished_run_is_left_as_it_is(videos: Path, undisturbed: Path) -> None:
    before = {path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()}
    result = train(config(videos, undisturbed))
    assert result.steps == 11
    assert {path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()} == before


def test_killed_anywhere_a_run_ends_as_if_undisturbed(
    videos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    settings = tmp_path / "config.json"
    settings.write_text(config(videos, run).model_dump_json())
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def sitting(point: str) -> int:
        command = [sys.executable, str(DRIVER), str(settings), point]
        return subprocess.run(command, env=environment, check=False).returncode

    assert sitting("line:1") == -signal.SIGKILL
    assert checkpoints(run) == []
    assert sitting("write") == -signal.SIGXFSZ
    assert checkpoints(run) == ["checkpoint.tmp"]
    assert sitting("rename:6") == -signal.SIGKILL
    assert checkpoints(run) == ["checkpoint-00000003.safetensors", "checkpoint.tmp"]
    assert sitting("line:7") == -signal.SIGKILL
    assert checkpoints(run) == ["checkpoint-00000003.safetensors", "checkpoint-00000006.safetensors"]
    assert len(read_metrics(run)) == 8
    assert sitting("remove") == -signal.SIGKILL
    assert len(checkpoints(run)) == 3
    assert sitting("none") == 0
    assert_same_run(run, undisturbed)
    assert checkpoints(run) == checkpoints(undisturbed)


def test_workers_change_nothing(videos: Path, undisturbed: Path, tmp_path: Path) -> None:
    train(config(videos, tmp_path, workers=1))
    assert_same_run(tmp_path, undisturbed)


def test_a_run_goes_on_with_more_steps(videos: Path, tmp_path: Path) -> None:
    flat = {"min_learning_rate": None, "warmup_steps": 0}
    train(config(videos, tmp_path / "twice", steps=4, **flat))
    train(config(videos, tmp_path / "twice", steps=7, **flat))
    train(config(videos, tmp_path / "once", steps=7, **flat))
    assert_same_run(tmp_path / "twice", tmp_path / "once")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 4}, "batch_size: the run in .* was begun with 2, not 4"),
        ({"steps": 5}, "steps: the run in .* has done 11 already, not 5; ask for more"),
        ({"device": "gpu"}, "device: gpu cannot be used here"),
        ({"dataset": "nowhere"}, "nothing is published there"),
    ],
)
def test_what_does_not_fit_the_run_is_refused(
    videos: Path, undisturbed: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(config(videos, undisturbed, **changes))


def test_another_dataset_is_refused(make_dataset: MakeDataset, videos: Path, undisturbed: Path) -> None:
    other = make_dataset([("train", [16, 16, 20])], height=32, width=40)
    with pytest.raises(
        UserError, match="content: the stream to be resumed had another content of its version"
    ):
        train(config(other, undisturbed, steps=12))


def test_a_file_is_no_run(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"run: .*file cannot be a folder"):
        train(config(videos, tmp_path / "file"))


def test_metrics_after_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0}\n{"step": 1}\n{"step": 2}\n{"st')
    for step, kept in ((2, 2), (2, 2), (0, 0)):
        log = MetricsLog(tmp_path, step)
        log.append({"step": step})
        log.close()
        assert [line["step"] for line in read_metrics(tmp_path)] == [*range(kept), step]


def test_a_second_process_in_the_same_run_is_refused(videos: Path, tmp_path: Path) -> None:
    second: list[str] = []

    def meanwhile(_: Any) -> None:
        if not second:
            with pytest.raises(UserError) as refused:
                train(config(videos, tmp_path / "run"))
            second.append(str(refused.value))

    train(config(videos, tmp_path / "run", steps=1), meanwhile)
    assert second == [
        f"run: another process is training in {tmp_path / 'run'}; wait for it, or choose another"
    ]
