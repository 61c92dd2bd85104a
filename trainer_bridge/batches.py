"""Which windows make up each global batch; known without reading a clip and without torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import partial

from shards.errors import UserError
from shards.manifest import read_version
from shards.store import Store
from trainer_bridge.order import WindowOrder, WindowPlace, order_hash, rank_share
from trainer_bridge.windows import WindowReader

StreamState = dict[str, int | str]
"""What a stream goes on from: the settings of its order, their hash, and the next step."""


class GlobalBatches:
    """The global batches of a dataset's split, by step.

    Attributes:
        open_reader: makes a reader of the windows; it may be sent to another process.
        state: what identifies the order: a few integers and a hash.

    Raises:
        UserError: there is no such dataset, version or split, or the split has too few windows.
    """

    def __init__(
        self,
        dataset: str | os.PathLike[str],
        *,
        split: str,
        batch_size: int,
        window: int,
        seed: int,
        version: int | None,
    ) -> None:
        at_least(1, batch_size=batch_size, window=window)
        store = Store(dataset)
        published = read_version(store, version)
        shards = [shard for shard in published.shards if shard.split == split]
        if not shards:
            raise UserError(
                f"split: dataset {store.url} has no split {split!r}; it has {', '.join(published.splits)}"
            )
        self._order = WindowOrder(shards, window, seed)
        if not self._order.windows_per_epoch:
            longest = max(frames for shard in shards for frames in shard.clips_by_frames)
            raise UserError(
                f"window: split {split} of dataset {store.url} has no clip of {window} frames; the longest "
                f"has {longest}"
            )
        if self._order.windows_per_epoch < batch_size:
            raise UserError(
                f"batch_size: {batch_size} is too large: split {split} of dataset {store.url} has "
                f"{self._order.windows_per_epoch} windows of {window} frames; choose a smaller one, or a "
                "smaller window"
            )
        self._batch_size = batch_size
        self.open_reader = partial(WindowReader, store, shards, window)
        self.state: StreamState = {
            "version": published.number,
            "batch_size": batch_size,
            "window": window,
            "seed": seed,
            "order": order_hash(published.hash, split=split, window=window, seed=seed, batch_size=batch_size),
        }

    def share(self, step: int, rank: int, world_size: int) -> list[WindowPlace]:
        """The windows of a step's batch that one rank reads.

        Raises:
            UserError: as `rank_share`, or the step is negative.
        """
        at_least(0, step=step)
        first = step * self._batch_size
        return rank_share(self._order.locate(range(first, first + self._batch_size)), rank, world_size)

    def check(self, state: StreamState) -> None:
        """Refuse the state of a stream whose steps are other batches than these.

        Raises:
            UserError: the line names the first setting that differs.
        """
        for name, value in self.state.items():
            if state.get(name) != value:
                what = "split, or the content of the version" if name == "order" else name
                raise UserError(
                    f"{what}: the stream to be resumed had {name} {state.get(name)}, this one has {value}; "
                    "set it back, or start a new stream"
                )


def batch_digest(pairs: Iterable[tuple[str, int]]) -> str:
    """SHA-256 over the sorted (key, start) pairs of a batch's windows, one `key start` a line."""
    lines = "".join(f"{key} {start}\n" for key, start in sorted(pairs))
    return hashlib.sha256(lines.encode()).hexdigest()


def batch_digests(
    dataset: str | os.PathLike[str],
    *,
    split: str = "train",
    batch_size: int,
    window: int = 16,
    seed: int = 0,
    world_size: int = 1,
    steps: int,
    from_step: int = 0,
    version: int | None = None,
) -> Iterator[str]:
    """The digest of each global batch, put together from what every rank would read; decodes nothing.

    Yields:
        The digest of the whole batch for steps `from_step` to `from_step + steps - 1`: the same for
        every `world_size` that divides `batch_size`.

    Raises:
        UserError: as `open_stream`.
    """
    batches = GlobalBatches(
        dataset, split=split, batch_size=batch_size, window=window, seed=seed, version=version
    )
    reader = batches.open_reader()
    for step in range(from_step, from_step + steps):
        shares = [batches.share(step, rank, world_size) for rank in range(max(world_size, 1))]
        yield batch_digest(reader.identify(place) for share in shares for place in share)


def at_least(least: int, **numbers: int) -> None:
    """Refuse numbers that are too small, by name.

    Raises:
        UserError: one of them is less than `least`.
    """
    for name, number in numbers.items():
        if number < least:
            raise UserError(f"{name}: {number} is too small; give at least {least}")
