"""Train with Ray Train, on CPUs; a run goes on where it was, with any number of workers.

    python examples/train_ray.py data/demo runs/ray --steps 100 --workers 1 2

Between 1 and 2 workers take part, as many as there is room for. Each step reports a checkpoint, and as a
metric which windows its global batch had, as one hash: that is the same with any number of workers, however
often they were killed. RUN/digests.txt lists them.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from torch import nn

from shards.store import Store
from trainer_bridge import open_stream
from trainer_bridge.batches import batch_digest
from trainer_bridge.launch import placement


def train(config: dict[str, Any]) -> None:
    """What each worker does."""
    rank, world_size = placement()
    torch.set_num_threads(1)
    stream = open_stream(config["dataset"], batch_size=8, rank=rank, world_size=world_size)
    torch.manual_seed(0)
    module = nn.Conv3d(3, 3, 3, padding=1)
    optimizer = torch.optim.AdamW(module.parameters())
    if checkpoint := ray.train.get_checkpoint():
        with checkpoint.as_directory() as folder:
            saved = torch.load(Path(folder) / "all.pt")
        module.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        stream.load_state_dict(saved["stream"])
    model = prepare_model(module)

    while stream.step < config["steps"]:
        batch = next(stream)
        video = batch.video.transpose(1, 2)  # [B, 3, T, H, W]
        loss = (model(video) - video).square().mean()
        optimizer.zero_grad()
        loss.backward()  # waits for the other workers
        optimizer.step()

        shares: list[list[tuple[str, int]]] = [[]] * world_size
        dist.all_gather_object(shares, list(zip(batch.keys, batch.starts, strict=True)))
        metrics = {"step": batch.step, "digest": batch_digest(chain(*shares)), "loss": loss.item()}
        if rank:
            ray.train.report(metrics)
            continue
        with (Path(config["run"]) / "digests.txt").open("a") as file:
            file.write(f"{metrics['step']} {metrics['digest']}\n")
        with tempfile.TemporaryDirectory() as folder:
            saved = {"model": module.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(saved | {"stream": stream.state_dict()}, Path(folder) / "all.pt")
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def main() -> None:
    """Train until `--steps` steps are done."""
    parser = argparse.ArgumentParser(description="Train on Ray, on this machine unless RAY_ADDRESS is set.")
    parser.add_argument("dataset")
    parser.add_argument("run", type=Path, help="a folder that every node sees")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--workers", type=int, nargs=2, default=(1, 2), help="how many at least and at most")
    args = parser.parse_args()
    run = args.run.resolve()
    run.mkdir(parents=True, exist_ok=True)
    trainer = TorchTrainer(
        train,
        train_loop_config={"dataset": Store(args.dataset).everywhere, "run": str(run), "steps": args.steps},
        scaling_config=ScalingConfig(num_workers=tuple(args.workers)),
        run_config=RunConfig(
            name=run.name,
            storage_path=str(run.parent),
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    print(trainer.fit().metrics)


if __name__ == "__main__":
    main()
