"""Checkpoints: one safetensors file each, whole or absent, the last two kept.

A file holds the model's tensors (`model.<name>`), the optimiser's (`optimizer.<parameter>.<name>`),
and as metadata the configuration and the stream's state. Nothing in it is code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from shards.errors import UserError
from shards.local_store import sync_folder
from trainer_bridge.config import TrainConfig
from trainer_bridge.state import StreamState

KEPT = 2

# What may differ between the sittings of one run: where it happens, and how long it goes on. Whether
# `dataset` still holds the same windows is for the stream's state to say.
_FREE = {"dataset", "version", "run", "steps", "checkpoint_every", "workers", "device"}

_ORDER = {"batch_size", "seed", "where", "starts", "short", "windows_per_visit"}


def save_checkpoint(config: TrainConfig, model: nn.Module, optimizer: Optimizer, stream: StreamState) -> Path:
    """Write the state after the steps before `stream["step"]`, and remove all but the last two.

    Killed at any instruction, it leaves the checkpoints that were there, or those and the new one.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
    metadata = {"config": config.model_dump_json(), "stream": json.dumps(stream)}
    path = config.run / f"checkpoint-{stream['step']:08d}.safetensors"
    # One name for all, so that a kill leaves one at most; `save_file` would invent a new one each time.
    temporary = config.run / "checkpoint.tmp"
    with temporary.open("wb") as file:
        file.write(save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(config.run)
    for old in _checkpoints(config.run)[:-KEPT]:
        old.unlink()
    return path


def load_checkpoint(
    config: TrainConfig, model: nn.Module, optimizer: Optimizer, *, allow_change: bool = False
) -> StreamState | None:
    """Bring model and optimiser to where the run's newest checkpoint left them.

    Args:
        allow_change: the settings that decide which windows a step sees may be others.

    Returns:
        The state that the stream goes on from; None if the run has no checkpoint.

    Raises:
        UserError: the checkpoint cannot be read, or was made with other settings that shape the result.
    """
    paths = _checkpoints(config.run)
    if not paths:
        return None
    path = paths[-1]
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except SafetensorError as error:
        raise UserError(
            f"{path}: cannot be read ({error}); delete it to go on from the one before"
        ) from error
    _check(config, json.loads(metadata["config"]), _FREE | _ORDER if allow_change else _FREE)
    model.load_state_dict(_below("model", tensors))
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below("optimizer", tensors).items():
        number, _, field = name.partition(".")
        states.setdefault(int(number), {})[field] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    stream: StreamState = json.loads(metadata["stream"])
    return stream


def _check(config: TrainConfig, saved: Mapping[str, Any], free: set[str]) -> None:
    current = config.model_dump(mode="json")
    for key in sorted(saved.keys() - free):
        if saved[key] != current[key]:
            raise UserError(
                f"{key}: the run in {config.run} was begun with {saved[key]}, not {current[key]}; "
                "set it back, or give the new run a folder of its own"
            )


def _checkpoints(run: Path) -> list[Path]:
    return sorted(run.glob("checkpoint-*.safetensors"))


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }
