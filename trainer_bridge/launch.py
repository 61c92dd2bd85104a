"""Which rank this process is, whoever has started it.

    rank, world_size = placement()
    stream = open_stream(dataset, batch_size=48, rank=rank, world_size=world_size)

A launcher that loses a rank starts all of them anew, perhaps fewer or more. The global batches do not
depend on how many there are, so each opens its stream with the new `placement()`, loads the `state_dict`
that *any* rank saved at the step all of them go on from, and the sequence continues as if nothing had
happened. There is nothing to merge, and no state of a rank: a few integers and a hash in the model's
checkpoint. The number of ranks has to divide `batch_size`: where it may change, choose one that all of the
numbers divide (48 for 1, 2, 3, 4, 6, 8).

torchrun (torch 2.14) sets `RANK` and `WORLD_SIZE`. With `--max-restarts 9` it starts all ranks anew when one
is lost, with `--nnodes 1:4` also on fewer or more nodes; its c10d rendezvous then needs
`TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1`, or the new ranks find addresses of the old ones in its store
(pytorch#135712). `examples/train_torchrun.py`.

Ray Train (2.60; its V2, which `RAY_TRAIN_V2_ENABLED` no longer has to ask for):

* `FailureConfig(max_failures=n)`: a worker that dies ends the others, and all begin again with
  `ray.train.get_checkpoint()`, the last one that was reported. A node that is taken away counts by
  itself (`max_preemption_failures`).
* `ScalingConfig(num_workers=(1, 4))` is elastic: each start takes as many workers as there is room for,
  and every `elastic_resize_monitor_interval_s` a group that could be larger is started anew.
* `RunConfig(name, storage_path)`: a run of the same name goes on from its last checkpoint, also with
  another `ScalingConfig`.
* `ray.train.report` is a barrier, so what it stores is the same step on every rank. It is called by all
  with or without a checkpoint; rank 0's is enough.

`examples/train_ray.py`. Only this module of the package knows of Ray, and loads it nowhere: in a worker
of Ray Train it is loaded.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from shards.errors import UserError


class Placement(NamedTuple):
    """A process among those of one training: its number, from 0, and how many there are."""

    rank: int
    world_size: int


def placement() -> Placement:
    """Rank and world size: of Ray Train in one of its workers, else torchrun's, else 0 of 1.

    Raises:
        UserError: `RANK` and `WORLD_SIZE` are not what a launcher sets.
    """
    return _of_ray() or _of_environment()


def _of_ray() -> Placement | None:
    if "ray.train" not in sys.modules:
        return None
    import ray.train

    try:
        context = ray.train.get_context()
    except RuntimeError:  # loaded, but this is no worker of it
        return None
    return Placement(context.get_world_rank(), context.get_world_size())


def _of_environment() -> Placement:
    told = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
    if set(told.values()) == {None}:
        return Placement(0, 1)
    numbers = [int(text) for text in told.values() if text is not None and text.isdecimal()]
    if len(numbers) < 2 or not numbers[0] < numbers[1]:
        raise UserError(
            f"RANK and WORLD_SIZE: the environment has {told['RANK']} and {told['WORLD_SIZE']}, which is no "
            "rank among ranks; a launcher sets both, RANK from 0 to WORLD_SIZE - 1"
        )
    return Placement(*numbers)
