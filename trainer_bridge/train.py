"""The training loop: one for every model that has `loss(video, valid) -> Losses`.

A run is a folder. What its newest checkpoint does not hold is a function of the configuration and
the step, so a run that was killed goes on from there exactly as if nothing had happened: call
`train` again with the same configuration.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from tensorboardX import SummaryWriter
from torch import nn
from torch.optim import AdamW

from shards.errors import UserError
from trainer_bridge.checkpoint import load_checkpoint, save_checkpoint
from trainer_bridge.config import TrainConfig
from trainer_bridge.metrics import Metrics, MetricsLog, read_metrics
from trainer_bridge.models.presets import build_model
from trainer_bridge.models.tokenizer import VideoTokenizer
from trainer_bridge.schedule import learning_rate
from trainer_bridge.stream import Stream, open_stream

BETAS = (0.9, 0.9)
"""Of AdamW; the paper's."""

MAX_GRADIENT_NORM = 1.0
"""Gradients are scaled down to this norm; ours, the paper says nothing of clipping."""


@dataclass(frozen=True)
class TrainResult:
    """What became of a run, over all its sittings.

    Attributes:
        first_loss: of the first step.
        last_loss: of the last one.
        steps: taken in all.
        run: the run's folder.
    """

    first_loss: float
    last_loss: float
    steps: int
    run: Path


def train(
    config: TrainConfig, on_step: Callable[[Metrics], None] | None = None, *, allow_change: bool = False
) -> TrainResult:
    """Train until `config.steps` steps are done, from the run's newest checkpoint if it has one.

    Args:
        on_step: called with each step's metrics once they are written.
        allow_change: go on though the data, or the order of its windows, is not what the run had.

    Raises:
        UserError: the data, the device or the checkpoint are not what the configuration asks for.
    """
    stream = open_stream(
        config.dataset,
        batch_size=config.batch_size,
        window=config.window,
        seed=config.seed,
        device=config.device,
        workers=config.workers,
        version=config.version,
        where=config.where,
        starts=config.starts,
        short=config.short,
        windows_per_visit=config.windows_per_visit,
    )
    height, width = stream.picture_size()
    model = build_model(config.model, frames=config.window, height=height, width=width, seed=config.seed)
    model.to(stream.device).train()
    optimizer = AdamW(model.parameters(), betas=BETAS, weight_decay=config.weight_decay)
    with _only_here(config.run):
        saved = load_checkpoint(config, model, optimizer, allow_change=allow_change)
        if saved:
            stream.load_state_dict(saved, allow_change=allow_change)
        if stream.step > config.steps:
            raise UserError(
                f"steps: the run in {config.run} has done {stream.step} already, not {config.steps}; "
                "ask for more"
            )
        with (
            closing(stream),
            _board(config, stream) as board,
            closing(MetricsLog(config.run, stream.step)) as log,
        ):
            while stream.step < config.steps:
                metrics = _step(config, stream, model, optimizer)
                log.append(metrics)
                _write(board, metrics, stream)
                if on_step:
                    on_step(metrics)
                if stream.step % config.checkpoint_every == 0 or stream.step == config.steps:
                    log.sync()
                    save_checkpoint(config, model, optimizer, stream.state_dict())
    lines = read_metrics(config.run)
    return TrainResult(lines[0]["loss"], lines[-1]["loss"], len(lines), config.run)


@contextmanager
def _only_here(run: Path) -> Iterator[None]:
    """The run's folder, made if need be and held against a second process."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = (run / ".lock").open("w")
    except OSError as error:
        raise UserError(f"run: {run} cannot be a folder ({error.strerror}); choose another") from None
    with lock:
        try:
            # The kernel lets go of it when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"run: another process is training in {run}; wait for it, or choose another"
            ) from None
        yield


def _board(config: TrainConfig, stream: Stream) -> SummaryWriter:
    """Where TensorBoard finds the run; what a checkpoint knows nothing of is no longer shown."""
    folder = str(config.run / "tensorboard")
    return SummaryWriter(folder, purge_step=stream.step, write_to_disk=stream.step < config.steps)


def _write(board: SummaryWriter, metrics: Metrics, stream: Stream) -> None:
    step = metrics["step"]
    for name in metrics.keys() - {"step", "windows"}:
        board.add_scalar(f"train/{name}", metrics[name], step)
    stream.telemetry.write(board, step)


def _step(config: TrainConfig, stream: Stream, model: VideoTokenizer, optimizer: AdamW) -> Metrics:
    begun = perf_counter()
    batch = next(stream)
    received = perf_counter()
    rate = learning_rate(config, batch.step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(batch.video.device.type, torch.bfloat16, enabled=batch.video.is_cuda):
        losses = model.loss(batch.video, batch.valid)
    optimizer.zero_grad()
    losses.total.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
    metrics = {"step": batch.step, "loss": losses.total.item()}
    metrics |= {name: part.item() for name, part in losses.parts.items()}
    return metrics | {
        "learning_rate": rate,
        "windows": batch.digest(),
        "read_s": batch.read_s,
        "decode_s": batch.decode_s,
        "wait_s": received - begun,
        "step_s": perf_counter() - received,
    }
