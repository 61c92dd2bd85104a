from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shards.errors import UserError
from trainer_bridge.batches import StreamState
from trainer_bridge.checkpoint import load_checkpoint, save_checkpoint
from trainer_bridge.config import TrainConfig


def config(run: Path, **changes: Any) -> TrainConfig:
    base = {"dataset": "d", "run": run, "model": "tiny-tokenizer", "batch_size": 4, "steps": 100}
    return TrainConfig.model_validate(base | changes)


def trained(steps: int, seed: int = 0) -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.rand(4, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def state(step: int) -> StreamState:
    return {"version": 1, "seed": 0, "order": "ff", "step": step}


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    model, optimizer = trained(3)
    path = save_checkpoint(config(tmp_path), model, optimizer, state(3))
    assert path == tmp_path / "checkpoint-00000003.safetensors"
    other, other_optimizer = trained(0, seed=1)
    assert load_checkpoint(config(tmp_path), other, other_optimizer) == state(3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    saved, loaded = optimizer.state_dict()["state"], other_optimizer.state_dict()["state"]
    assert saved.keys() == loaded.keys() == {0, 1}
    for number in saved:
        assert saved[number].keys() == loaded[number].keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(saved[number][name], loaded[number][name]) for name in saved[number])


def test_a_new_run_has_none(tmp_path: Path) -> None:
    assert load_checkpoint(config(tmp_path), *trained(0)) is None


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save_checkpoint(config(tmp_path), *trained(1), state(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-00000010.safetensors",
        "checkpoint-00000015.safetensors",
    ]
    found = load_checkpoint(config(tmp_path), *trained(0))
    assert found is not None
    assert found["step"] == 15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 8}, "window: the run in .* was begun with 16, not 8; set it back, or give the new run"),
        ({"learning_rate": 1}, "learning_rate: the run in .* was begun with 0.0003, not 1.0"),
        ({"seed": 2}, "seed: .* 0, not 2"),
        ({"model": "tokenizer-200m"}, "model: .* tiny-tokenizer, not tokenizer-200m"),
    ],
)
def test_settings_that_shape_the_result_may_not_change(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    save_checkpoint(config(tmp_path), *trained(1), state(5))
    with pytest.raises(UserError, match=message):
        load_checkpoint(config(tmp_path, **change), *trained(0))


def test_place_and_length_may_change(tmp_path: Path) -> None:
    save_checkpoint(config(tmp_path), *trained(1), state(5))
    moved = config(tmp_path, dataset="elsewhere", steps=500, workers=2, checkpoint_every=7)
    assert load_checkpoint(moved, *trained(0)) == state(5)


def test_the_order_of_windows_may_change_if_told(tmp_path: Path) -> None:
    save_checkpoint(config(tmp_path), *trained(1), state(5))
    changed = config(tmp_path, seed=2, where="motion > 0.1", batch_size=8)
    with pytest.raises(UserError, match=r"batch_size: the run in .* was begun with 4, not 8"):
        load_checkpoint(changed, *trained(0))
    assert load_checkpoint(changed, *trained(0), allow_change=True) == state(5)
    with pytest.raises(UserError, match="window: the run in"):
        load_checkpoint(config(tmp_path, window=8), *trained(0), allow_change=True)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    for step in (5, 10):
        path = save_checkpoint(config(tmp_path), *trained(1), state(step))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"checkpoint-00000010.safetensors: cannot be read .* delete it"):
        load_checkpoint(config(tmp_path), *trained(0))
    path.unlink()
    assert load_checkpoint(config(tmp_path), *trained(0)) == state(5)
