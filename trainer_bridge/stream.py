"""The stream of training batches.

The order says which windows make up a step, torch's `DataLoader` has them read and decoded, here or
in workers, and the device turns planes into colours. All that a stream remembers, beside its
settings, is the number of the next step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from shards.errors import UserError
from trainer_bridge.batches import GlobalBatches, StreamState, at_least, batch_digest
from trainer_bridge.device import i420_to_rgb
from trainer_bridge.order import WindowPlace
from trainer_bridge.windows import WindowReader


@dataclass(frozen=True)
class Batch:
    """One rank's share of a global batch.

    Attributes:
        video: RGB in [0, 1], float32 `[B, T, 3, H, W]`, on the stream's device.
        keys: the clip of each window.
        starts: the frame of that clip that is the window's first.
        valid: bool `[B, T]`, on the stream's device; False marks frames that are padding. As clips
            shorter than a window are left out, all are True.
        step: the number of the global batch, from 0.
        read_s: seconds that reading packets took, summed over the windows.
        decode_s: seconds that decoding them took, summed over the windows.
    """

    video: Tensor
    keys: tuple[str, ...]
    starts: tuple[int, ...]
    valid: Tensor
    step: int
    read_s: float
    decode_s: float

    def digest(self) -> str:
        """SHA-256 over the sorted (key, start) pairs: the same windows, the same digest."""
        return batch_digest(zip(self.keys, self.starts, strict=True))


def open_stream(
    dataset: str | os.PathLike[str],
    *,
    split: str = "train",
    batch_size: int,
    window: int = 16,
    seed: int = 0,
    step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    device: str | torch.device = "cpu",
    workers: int = 0,
    version: int | None = None,
) -> Stream:
    """Open an endless stream of batches that begins at any step.

    The windows of a clip are aligned: they begin at its frames 0, `window`, 2 * `window`...; clips
    shorter than a window are left out.

    Args:
        dataset: folder or URL.
        batch_size: windows in a global batch; each rank gets `batch_size / world_size` of them.
        window: frames a window.
        seed: of the order. Equal seeds give equal global batches, whatever `world_size` and `workers`.
        step: the number of the first batch.
        rank: whose share of each global batch to read, from 0.
        device: where batches end up; they pass through pinned memory on the way to a GPU.
        workers: processes that read and decode ahead; 0 reads when asked. They are started by a fork
            server, so a script's own code belongs under `if __name__ == "__main__"`.
        version: number of the dataset's version; the newest by default.

    Raises:
        UserError: there is no such dataset, version, split, rank or device; the split has too few
            windows for a batch; or `world_size` does not divide `batch_size`.
    """
    at_least(0, workers=workers)
    batches = GlobalBatches(
        dataset, split=split, batch_size=batch_size, window=window, seed=seed, version=version
    )
    return Stream(batches, step, rank, world_size, _device(device), workers)


class Stream:
    """An endless iterator of batches; `open_stream` makes one."""

    def __init__(
        self,
        batches: GlobalBatches,
        step: int,
        rank: int,
        world_size: int,
        device: torch.device,
        workers: int,
    ) -> None:
        self._plan = batches
        self._shares = _Shares(batches, step, rank, world_size)
        self._first = self._shares.share(step)  # refuses a wrong rank before anything is read
        self._loader: DataLoader[_Planes | UserError] = DataLoader(
            _Windows(batches.open_reader),
            sampler=self._shares,
            batch_size=None,  # what the sampler yields is a batch already
            num_workers=workers,
            multiprocessing_context="forkserver" if workers else None,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # else each start would draw from torch's global one
        )
        self._batches: Iterator[_Planes | UserError] | None = None
        self.device = device

    @property
    def step(self) -> int:
        """The number of the batch that comes next."""
        return self._shares.step

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            UserError: a shard is missing, or a clip is damaged; the line names shard, key and byte.
        """
        try:
            if self._batches is None:
                self._batches = iter(self._loader)
            planes = next(self._batches)
            if isinstance(planes, UserError):
                # A new one: raised itself, it would hold this frame, and with it the workers, alive.
                raise UserError(str(planes))
        except BaseException:
            # The loader may be past this step; whoever asks again must get this step, not the next.
            self._batches = None
            raise
        step = self._shares.step
        self._shares.step += 1
        video = i420_to_rgb(planes.planes.to(self.device, non_blocking=True))
        return Batch(
            video=video,
            keys=tuple(planes.keys),
            starts=tuple(planes.starts),
            valid=torch.ones(video.shape[:2], dtype=torch.bool, device=self.device),
            step=step,
            read_s=planes.read_s,
            decode_s=planes.decode_s,
        )

    def state_dict(self) -> StreamState:
        """What `load_state_dict` goes on from: a few integers and a hash."""
        return self._plan.state | {"step": self.step}

    def load_state_dict(self, state: StreamState) -> None:
        """Go on where another stream stood; costs the same at any step.

        Raises:
            UserError: that stream had another order, so its step means other windows here.
        """
        self._plan.check(state)
        self._shares.step = int(state["step"])
        self._batches = None

    def picture_size(self) -> tuple[int, int]:
        """Height and width of the pictures in pixels, as the stream's first window has them."""
        _, rows, width = self._plan.open_reader().read(self._first[0]).planes.shape
        return rows * 2 // 3, width


class _Planes(NamedTuple):
    """A share as it comes from a worker; `planes` is uint8 `[B, T, H * 3 // 2, W]`."""

    planes: Tensor
    keys: list[str]
    starts: list[int]
    read_s: float
    decode_s: float


class _Windows(Dataset["_Planes | UserError"]):
    """Reads shares; opens its reader where it is used, as files and decoders do not travel."""

    def __init__(self, open_reader: Callable[[], WindowReader]) -> None:
        self._open_reader = open_reader

    @cached_property
    def _reader(self) -> WindowReader:
        return self._open_reader()

    def __getitem__(self, places: list[WindowPlace]) -> _Planes | UserError:
        try:
            windows = [self._reader.read(place) for place in places]
        except UserError as error:
            return error  # raised in a worker, its one line would arrive wrapped in a traceback
        return _Planes(
            planes=torch.from_numpy(np.stack([window.planes for window in windows])),
            keys=[window.key for window in windows],
            starts=[window.start for window in windows],
            read_s=sum(window.read_s for window in windows),
            decode_s=sum(window.decode_s for window in windows),
        )


class _Shares(Sampler[list[WindowPlace]]):
    """One rank's share of each global batch, from a step on."""

    def __init__(self, batches: GlobalBatches, step: int, rank: int, world_size: int) -> None:
        self._batches = batches
        self._rank = rank
        self._world_size = world_size
        self.step = step

    def share(self, step: int) -> list[WindowPlace]:
        return self._batches.share(step, self._rank, self._world_size)

    def __iter__(self) -> Iterator[list[WindowPlace]]:
        return map(self.share, count(self.step))


def _device(name: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"device: {name!s} cannot be used here ({reason}); use cpu, or cuda on a GPU"
        ) from None
