"""Train on several ranks with torchrun, on CPUs; killed at any moment, it goes on with any number of ranks.

    torchrun --nproc-per-node 2 examples/train_torchrun.py data/demo runs/two --steps 100

Rank 0 writes to RUN/digests.txt which windows each step's global batch had, as one hash: that is the same
on any number of ranks, however often they were killed.
"""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trainer_bridge import open_stream
from trainer_bridge.batches import batch_digest
from trainer_bridge.launch import placement


def main() -> None:
    """Train until `--steps` steps are done."""
    parser = argparse.ArgumentParser(description="Train on every rank that torchrun has started.")
    parser.add_argument("dataset")
    parser.add_argument("run", type=Path, help="a folder that every node sees")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=8, help="over all ranks")
    parser.add_argument("--workers", type=int, default=0, help="that read ahead, for each rank")
    args = parser.parse_args()

    rank, world_size = placement()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    stream = open_stream(
        args.dataset,
        batch_size=args.batch_size,
        rank=rank,
        world_size=world_size,
        workers=args.workers,
    )
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Conv3d(3, 3, 3, padding=1))
    optimizer = torch.optim.AdamW(model.parameters())

    args.run.mkdir(parents=True, exist_ok=True)
    checkpoint, digests = args.run / "checkpoint.pt", args.run / "digests.txt"
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        stream.load_state_dict(saved["stream"])

    while stream.step < args.steps:
        batch = next(stream)
        video = batch.video.transpose(1, 2)  # [B, 3, T, H, W]
        loss = (model(video) - video).square().mean()
        optimizer.zero_grad()
        loss.backward()  # waits for the other ranks
        optimizer.step()

        shares: list[list[tuple[str, int]]] = [[]] * world_size
        dist.all_gather_object(shares, list(zip(batch.keys, batch.starts, strict=True)))
        if rank == 0:
            line = f"{batch.step} {batch_digest(chain(*shares))}"
            print(line, f"loss {loss.item():.4f}", flush=True)
            with digests.open("a") as file:
                file.write(f"{line}\n")
            saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            new = checkpoint.with_suffix(".new")
            torch.save(saved | {"stream": stream.state_dict()}, new)
            new.replace(checkpoint)  # whole or not at all
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
