"""What torch's `DataLoader` loads: one rank's share of each global batch, here or in worker processes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from shards.errors import UserError
from shards.manifest import ShardEntry
from shards.store import Store
from trainer_bridge.batches import GlobalBatches
from trainer_bridge.order import WindowPlace
from trainer_bridge.orphans import end_with_parent
from trainer_bridge.windows import Share, WindowReader

_log = logging.getLogger(__name__)

_GIVEN_UP = 10

_LOOK_S = 1.0
"""So often a `DataLoader` looks whether its workers live while nothing comes."""


_DIED = (RuntimeError, EOFError, ConnectionError, FileNotFoundError)
"""What a `DataLoader` raises whose worker has died, by where it was in handing a batch over."""

_MOST_DEATHS = 3
"""So many times workers are started for one batch."""


@dataclass
class HostBatch:
    """A share on its way from a worker to the device; a `DataLoader` pins it by `pin_memory`.

    Attributes:
        planes: uint8 `[B, T, H * 3 // 2, W]`, the same memory as the share's.
        valid: bool `[B, T]`, False for padding.
        share: what else was read; its own planes are empty.
        draws: the random number of each window's position.
    """

    planes: Tensor
    valid: Tensor
    share: Share
    draws: list[int]

    def pin_memory(self) -> HostBatch:
        """The same in memory that a GPU copies from by itself."""
        return HostBatch(self.planes.pin_memory(), self.valid.pin_memory(), self.share, self.draws)


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
        valid = torch.arange(planes.shape[1]) < torch.tensor(share.frames)[:, None]
        return HostBatch(torch.from_numpy(planes), valid, share, [place.draw for place in places])


class Shares(Sampler[list[WindowPlace]]):
    """One rank's share of each global batch, from a step on.

    Attributes:
        rank: whose share it is.
        step: the next one; what was asked for ahead of it does not count.
    """

    def __init__(self, batches: GlobalBatches, step: int, rank: int, world_size: int) -> None:
        self._batches = batches
        self.rank = rank
        self._world_size = world_size
        self.step = step

    def share(self, step: int) -> list[WindowPlace]:
        """The windows of a step."""
        return self._batches.share(step, self.rank, self._world_size)

    def told(self) -> str:
        """The shards that the next step is read from, for messages."""
        return ", ".join(self._batches.names(self.share(self.step)))

    def ahead(self) -> list[tuple[Store, ShardEntry]]:
        """The shards that will mostly be read from the next step on."""
        return self._batches.ahead(self.step, self.rank, self._world_size)

    def __iter__(self) -> Iterator[list[WindowPlace]]:
        return map(self.share, count(self.step))


class Loader:
    """The shares of a rank as they are read, from its next step on.

    Args:
        workers: processes that read and decode ahead; 0 reads when asked.
        pinned: whether batches are to lie in pinned memory.
        stall_s: workers that give nothing for ten times as long are given up.
    """

    def __init__(
        self, batches: GlobalBatches, shares: Shares, *, workers: int, pinned: bool, stall_s: float
    ) -> None:
        self._shares = shares
        self._make: Callable[[], DataLoader[HostBatch | UserError]] = partial(
            DataLoader,
            Windows(batches.open_reader),
            sampler=shares,
            batch_size=None,  # what the sampler yields is a batch already
            num_workers=workers,
            multiprocessing_context="forkserver" if workers else None,
            persistent_workers=workers > 0,
            worker_init_fn=end_with_parent,
            pin_memory=pinned,
            timeout=_LOOK_S if workers else 0,
            generator=torch.Generator(),  # else each start would draw from torch's global one
        )
        self._died = _DIED if workers else ()
        self._given_up_s = _GIVEN_UP * stall_s
        self._loader = self._make()
        self._batches: Iterator[HostBatch | UserError] | None = None

    def next(self) -> HostBatch:
        """The batch that follows the one before; after `forget`, and at first, that of the next step.

        Workers that died are started anew: what they read is a function of the step.

        Raises:
            UserError: a shard is missing or damaged, or workers give nothing or keep dying.
        """
        deaths, begun_s = 0, time.monotonic()
        while True:
            try:
                if self._batches is None:
                    self._batches = iter(self._loader)
                found = next(self._batches)
                break
            except self._died as error:
                self._bear(error, time.monotonic() - begun_s)
                deaths += self._batches is None
            if deaths == _MOST_DEATHS:
                raise UserError(
                    f"step {self._shares.step}: workers died {deaths} times while they read "
                    f"{self._shares.told()}; a script that has workers needs `if __name__ == '__main__':`, "
                    "and if memory is short, choose fewer of them or a smaller batch_size"
                )
        if isinstance(found, UserError):
            # A new one: raised itself, it would hold this frame, and with it the workers, alive.
            raise UserError(str(found))
        return found

    def _bear(self, error: Exception, waited_s: float) -> None:
        """Go on waiting, or start workers anew; raises what is neither of the two."""
        told = str(error) if isinstance(error, RuntimeError) else "a worker exited unexpectedly"
        if "timed out" in told:
            if waited_s > self._given_up_s:
                raise UserError(
                    f"step {self._shares.step}: in {waited_s:.0f} s nothing came of {self._shares.told()}"
                ) from None
        elif "exited unexpectedly" in told or "killed by signal" in told:
            # Those that live know nothing of the others' end.
            self.close()
            _log.warning("step %d: a worker died; all are started anew", self._shares.step)
        else:
            raise error

    def forget(self) -> None:
        """Read again from the next step on."""
        self._batches = None

    def close(self) -> None:
        """End the workers; asked again, they are started again."""
        self._batches = None
        self._loader = self._make()
