"""The stream of training batches.

The order says which windows make up a step, torch's `DataLoader` has them read and decoded, here or
in workers, and the device turns planes into colours. All that a stream remembers, beside its
settings, is the number of the next step.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import deque
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from shards.errors import UserError
from trainer_bridge.augment import Augment
from trainer_bridge.batches import BatchSettings, Datasets, GlobalBatches, at_least, batch_digest
from trainer_bridge.cache import Cache
from trainer_bridge.feed import DeviceFeed, Flight
from trainer_bridge.indexes import Starts
from trainer_bridge.loading import Loader, Shares
from trainer_bridge.order import Short
from trainer_bridge.prefetch import Prefetcher
from trainer_bridge.state import StreamState, step_of
from trainer_bridge.telemetry import StepTimes, Telemetry
from trainer_bridge.watchdog import StallWatchdog
from trainer_bridge.windows import Replaced

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """One rank's share of a global batch.

    Attributes:
        video: RGB `[B, T, 3, H, W]` on the stream's device: floats in [0, 1], or uint8.
        keys: the clip of each window.
        starts: the frame of that clip that is the window's first.
        valid: bool `[B, T]`, on the stream's device; False marks frames that are padding.
        step: the number of the global batch, from 0.
        replaced: the windows of this share whose bytes are damaged, and what stands in for each; `keys`
            and `starts` are those of what was read.
        read_s: seconds that reading packets took, summed over the windows.
        decode_s: seconds that decoding them took, summed over the windows.
        read_bytes: how many bytes were read for it.
    """

    video: Tensor
    keys: tuple[str, ...]
    starts: tuple[int, ...]
    valid: Tensor
    step: int
    replaced: tuple[Replaced, ...]
    read_s: float
    decode_s: float
    read_bytes: int

    def digest(self) -> str:
        """SHA-256 over the sorted (key, start) pairs: the same windows, the same digest."""
        return batch_digest(zip(self.keys, self.starts, strict=True))


def open_stream(
    dataset: Datasets,
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
    where: str | None = None,
    starts: Starts = "aligned",
    short: Short = "drop",
    windows_per_visit: int = 1,
    dtype: torch.dtype = torch.float32,
    augment: Augment | None = None,
    cache: Cache | None = None,
    max_damaged: int = 16,
    stall_s: float = 60.0,
) -> Stream:
    """Open an endless stream of batches that begins at any step.

    Args:
        dataset: folder or URL; or several, each with its weight: `{"./a": 0.7, "s3://b/c": 0.3}`. After
            any number of windows none of them has had a whole window more or less than its weight says.
        batch_size: windows in a global batch; each rank gets `batch_size / world_size` of them.
        window: frames a window.
        seed: of the order. Equal seeds give equal global batches, whatever `world_size` and `workers`.
        step: the number of the first batch.
        rank: whose share of each global batch to read, from 0.
        device: where batches end up; they pass through pinned memory on the way to a GPU.
        workers: processes that read and decode ahead; 0 reads when asked. They are started by a fork
            server, so a script's own code belongs under `if __name__ == "__main__"`.
        version: number of the dataset's version; the newest by default.
        where: an SQL predicate on the columns of the version's `clips`, as `"motion >= 0.01"`; only
            windows of clips that it holds for are streamed.
        starts: `aligned` windows of a clip begin at its frames 0, `window`, 2 * `window`..., and each is
            decoded by itself where that is a multiple of the clip's group of pictures. `anywhere` draws
            each window's first frame anew every epoch from its own stretch of the clip; up to a group is
            decoded before it.
        short: clips shorter than a window are left out (`drop`), or give one window whose last frame is
            repeated and marked in `Batch.valid` (`pad`).
        windows_per_visit: so many windows that lie together are streamed together, which saves requests
            to a bucket and makes a batch less mixed.
        dtype: of `Batch.video`: float32 or bfloat16 for [0, 1], or uint8 for 0 to 255.
        augment: changes of colour, the same for all frames of a window.
        cache: keeps copies of remote shards on this machine.
        max_damaged: so many different damaged clips may be replaced on this rank before it gives up.
        stall_s: a wait longer than this is logged, with the shards that are waited for.

    Raises:
        UserError: there is no such dataset, version, split, column, rank or device; the split has too
            few windows for a batch; or `world_size` does not divide `batch_size`.
    """
    at_least(0, workers=workers, max_damaged=max_damaged, step=step, rank=rank)
    at_least(1, world_size=world_size)
    if not isinstance(stall_s, int | float) or not stall_s > 0:
        raise UserError(f"stall_s: {stall_s!r} is no time to wait; give seconds, more than 0")
    if cache is not None and not isinstance(cache, Cache):
        raise UserError(f"cache: {cache!r} is none; give trainer_bridge.cache.Cache(folder, max_bytes)")
    settings = BatchSettings(batch_size, split, window, seed, starts, short, where, windows_per_visit)
    batches = GlobalBatches(dataset, settings, version=version, cache=cache)
    return Stream(
        batches,
        Shares(batches, step, rank, world_size),
        DeviceFeed(_device(device), dtype, augment),
        workers=workers,
        cache=cache,
        max_damaged=max_damaged,
        stall_s=stall_s,
    )


class Stream:
    """An endless iterator of batches; `open_stream` makes one.

    Attributes:
        telemetry: where the time of its last steps went.
    """

    def __init__(
        self,
        batches: GlobalBatches,
        shares: Shares,
        feed: DeviceFeed,
        *,
        workers: int,
        cache: Cache | None,
        max_damaged: int,
        stall_s: float,
    ) -> None:
        self._plan = batches
        self._shares = shares
        self._first = shares.share(shares.step)  # refuses a wrong rank before anything is read
        self._feed = feed
        self._damaged: set[str] = set()
        self._max_damaged = max_damaged
        self._prefetcher: Prefetcher | None = None
        if cache:
            batches.check_cache(cache)
            self._prefetcher = Prefetcher(cache, shares.ahead)
        self._loader = Loader(
            batches, shares, workers=workers, pinned=feed.device.type == "cuda", stall_s=stall_s
        )
        self._flights: deque[Flight] = deque()
        self._failed: UserError | None = None
        self._returned_s: float | None = None
        self._closed = False
        self._asking = Lock()
        # Of the thread that watches nothing may lead back here, or a stream that is dropped would live on.
        self._watchdog = StallWatchdog(stall_s, shares.told)
        self.telemetry = Telemetry(shares.rank, workers)
        weakref.finalize(self, self._watchdog.close)
        if self._prefetcher:
            weakref.finalize(self, self._prefetcher.close)

    @property
    def device(self) -> torch.device:
        """Where batches end up."""
        return self._feed.device

    @property
    def step(self) -> int:
        """The number of the batch that comes next."""
        return self._shares.step

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            UserError: a shard is missing, or too many clips are damaged; the line names shard, key and
                byte. Asked again, it tries the same batch again.
        """
        # Decoders and the step that comes next are one thread's at a time.
        with self._asking:
            return self._next()

    def _next(self) -> Batch:
        if self._closed:
            raise UserError("the stream was closed; open another one")
        called_s = time.perf_counter()
        try:
            flight = self._next_flight()
            share = flight.host.share
            self._tell_replaced(share.replaced)
        except BaseException:
            # The loader is past this step; whoever asks again must get this step, not the next.
            self._forget_read()
            raise
        arrived_s = time.perf_counter()
        step = self._shares.step
        self._shares.step += 1
        if self._prefetcher:
            self._prefetcher.advance()
        video = self._feed.finish(flight)
        returns_s = time.perf_counter()
        if self._returned_s is not None:
            self.telemetry.add(
                StepTimes(
                    wait_s=arrived_s - called_s,
                    copy_s=returns_s - arrived_s + self._feed.copied_s(),
                    step_s=called_s - self._returned_s,
                    read_s=share.read_s,
                    decode_s=share.decode_s,
                    windows=len(share.keys),
                    read_bytes=share.read_bytes,
                )
            )
        self._returned_s = returns_s
        return Batch(
            video=video,
            keys=tuple(share.keys),
            starts=tuple(share.starts),
            valid=flight.valid,
            step=step,
            replaced=tuple(share.replaced),
            read_s=share.read_s,
            decode_s=share.decode_s,
            read_bytes=share.read_bytes,
        )

    def state_dict(self) -> StreamState:
        """What `load_state_dict` goes on from: a few integers and a hash."""
        return self._plan.state | {"step": self.step}

    def load_state_dict(self, state: StreamState, *, allow_change: bool = False) -> None:
        """Go on where another stream stood; costs the same at any step.

        Args:
            allow_change: go on at the step with that number even if that stream had other settings.

        Raises:
            UserError: that stream had another order, so its step means other windows here; the line
                names what differs.
        """
        if not allow_change:
            self._plan.check(state)
        self._shares.step = step_of(state)
        self._forget_read()

    def close(self) -> None:
        """End the workers and what is fetched ahead; the stream cannot be asked again."""
        self._closed = True
        self._forget_read()
        self._loader.close()
        self._watchdog.close()
        if self._prefetcher:
            self._prefetcher.close()

    def picture_size(self) -> tuple[int, int]:
        """Height and width of the pictures in pixels, as the stream's first window has them."""
        rows, width = self._plan.open_reader().read(self._first[:1]).planes.shape[2:]
        return rows * 2 // 3, width

    def _next_flight(self) -> Flight:
        """The batch of this step, on its way to the device; on a GPU the one after it is too."""
        while len(self._flights) <= self._feed.ahead and not self._failed:
            try:
                with self._watchdog:
                    host = self._loader.next()
            except UserError as error:
                if not self._flights:
                    raise
                # What is on its way is sound: this is told where its step is.
                self._failed = error
            else:
                self._flights.append(self._feed.start(host))
        if not self._flights:
            raise UserError(str(self._failed))
        return self._flights.popleft()

    def _forget_read(self) -> None:
        """Read again from the next step on."""
        self._loader.forget()
        self._failed, self._returned_s = None, None
        self._flights.clear()

    def _tell_replaced(self, replaced: list[Replaced]) -> None:
        for one in replaced:
            if one.key not in self._damaged:
                _log.warning("%s; %s from frame %d stands in for it", one.why, one.by_key, one.by_start)
            self._damaged.add(one.key)
        if len(self._damaged) > self._max_damaged:
            raise UserError(
                f"{replaced[-1].why}; with it {len(self._damaged)} clips are, more than "
                f"max_damaged={self._max_damaged}; `genieset verify` finds all damage"
            )


def _device(name: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"device: {name!s} cannot be used here ({reason}); use cpu, or cuda on a GPU"
        ) from None
