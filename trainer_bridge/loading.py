"""What torch's `DataLoader` loads: one rank's share of each global batch, here or in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from shards.errors import UserError
from shards.manifest import ShardEntry
from shards.store import Store
from trainer_bridge.batches import GlobalBatches
from trainer_bridge.order import WindowPlace
from trainer_bridge.windows import Share, WindowReader


@dataclass
class HostBatch:
    """A share on its way from a worker to the device; a `DataLoader` pins it by `pin_memory`.

    Attributes:
        planes: uint8 `[B, T, H * 3 // 2, W]`, the same memory as the share's.
        share: what else was read; its own planes are empty.
        draws: the random number of each window's position.
    """

    planes: Tensor
    share: Share
    draws: list[int]

    def pin_memory(self) -> HostBatch:
        """The same in memory that a GPU copies from by itself."""
        return HostBatch(self.planes.pin_memory(), self.share, self.draws)


class Windows(Dataset["HostBatch | UserError"]):
    """Reads shares; opens its reader where it is used, as files and decoders do not travel."""

    def __init__(self, open_reader: Callable[[], WindowReader]) -> None:
        self._open_reader = open_reader

    @cached_property
    def _reader(self) -> WindowReader:
        return self._open_reader()

    def __getitem__(self, places: list[WindowPlace]) -> HostBatch | UserError:
        try:
            share = self._reader.read(places)
        except UserError as error:
            return error  # raised in a worker, its one line would arrive wrapped in a traceback
        planes, share.planes = share.planes, share.planes[:0]
        return HostBatch(torch.from_numpy(planes), share, [place.draw for place in places])


class Shares(Sampler[list[WindowPlace]]):
    """One rank's share of each global batch, from a step on.

    Attributes:
        step: the next one; what was asked for ahead of it does not count.
    """

    def __init__(self, batches: GlobalBatches, step: int, rank: int, world_size: int) -> None:
        self._batches = batches
        self._rank = rank
        self._world_size = world_size
        self.step = step

    def share(self, step: int) -> list[WindowPlace]:
        """The windows of a step."""
        return self._batches.share(step, self._rank, self._world_size)

    def ahead(self) -> list[tuple[Store, ShardEntry]]:
        """The shards that will mostly be read from the next step on."""
        return self._batches.ahead(self.step, self._rank, self._world_size)

    def __iter__(self) -> Iterator[list[WindowPlace]]:
        return map(self.share, count(self.step))
