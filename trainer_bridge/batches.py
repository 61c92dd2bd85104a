"""Which windows make up each global batch; known without reading a clip and without torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from shards.errors import UserError
from shards.manifest import ShardEntry, Version, read_version
from shards.store import Store
from trainer_bridge.cache import Cache
from trainer_bridge.indexes import Starts, WindowRules
from trainer_bridge.mixture import MixedOrder, whole_shares
from trainer_bridge.order import (
    BLOCK_SHARDS,
    ORDER_VERSION,
    Short,
    WindowOrder,
    WindowPlace,
    rank_share,
    windows_in,
)
from trainer_bridge.selection import Selection, select
from trainer_bridge.state import StreamState, as_state, check_state
from trainer_bridge.windows import ReaderPart, WindowReader

Place = str | os.PathLike[str]
Datasets = Place | Mapping[str, float]
"""A dataset's folder or URL, or several, each with its weight."""


@dataclass(frozen=True)
class BatchSettings:
    """Everything that shapes global batches, the datasets left out; `open_stream` says what each means."""

    batch_size: int
    split: str = "train"
    window: int = 16
    seed: int = 0
    starts: Starts = "aligned"
    short: Short = "drop"
    where: str | None = None
    windows_per_visit: int = 1

    def check(self) -> None:
        """Refuse settings that no dataset can have.

        Raises:
            UserError: a number is too small, or a choice is none.
        """
        at_least(1, batch_size=self.batch_size, window=self.window, windows_per_visit=self.windows_per_visit)
        at_least(0, seed=self.seed)
        if self.seed >= 2**64:
            raise UserError(f"seed: {self.seed} is too large; give less than 2**64")
        if self.where is not None and not isinstance(self.where, str):
            raise UserError(f"where: {self.where!r} is no SQL predicate; give one, as 'motion >= 0.01'")
        for name, value, known in (
            ("starts", self.starts, ("aligned", "anywhere")),
            ("short", self.short, ("drop", "pad")),
        ):
            if value not in known:
                raise UserError(f"{name}: there is no {value!r}; choose {' or '.join(known)}")

    @property
    def rules(self) -> WindowRules:
        """What a window is."""
        return WindowRules(self.window, self.starts, self.short)


class GlobalBatches:
    """The global batches of one dataset's split or of a mixture of several, by step.

    Attributes:
        open_reader: makes a reader of the windows; it may be sent to another process.
        state: what identifies the order: a few integers and a hash.

    Raises:
        UserError: there is no such dataset, version or split, or a split has too few windows.
    """

    def __init__(
        self,
        datasets: Datasets,
        settings: BatchSettings,
        *,
        version: int | None = None,
        cache: Cache | None = None,
    ) -> None:
        settings.check()
        weights = dict(datasets) if isinstance(datasets, Mapping) else {datasets: 1}
        for place in weights:
            if not isinstance(place, str | os.PathLike):
                raise UserError(
                    f"dataset: {place!r} is no folder or URL; a mixture is {{'a': 0.7, 'b': 0.3}}"
                )
        if not weights:
            raise UserError("dataset: there is none; give a folder or a URL")
        whole_shares(list(weights.values()))  # refuses what is no weight before anything is read
        if version is not None and len(weights) > 1:
            raise UserError("version: means one dataset; of a mixture the newest versions are streamed")
        self._settings = settings
        self._parts = [_Part(Store(place), settings, version) for place in weights]
        orders = [
            WindowOrder(
                part.windows, settings.seed, windows_per_visit=settings.windows_per_visit, part=number
            )
            for number, part in enumerate(self._parts)
        ]
        self._order = MixedOrder(orders, list(weights.values()), settings.seed)
        for part, order, most in zip(
            self._parts, orders, self._order.most_in(settings.batch_size), strict=True
        ):
            if order.windows_per_epoch < min(most, settings.batch_size):
                raise UserError(
                    f"batch_size: {settings.batch_size} is too large: split {settings.split} of dataset "
                    f"{part.store.url} has {order.windows_per_epoch} windows of {settings.window} frames; "
                    "choose a smaller one, or a smaller window"
                )
        readers = [ReaderPart(part.store, part.shards, part.rows) for part in self._parts]
        self.open_reader = partial(WindowReader, readers, settings.rules, cache)
        self._told = self._settings_told()
        self.state: StreamState = as_state(self._told)

    def share(self, step: int, rank: int, world_size: int) -> list[WindowPlace]:
        """The windows of a step's batch that one rank reads.

        Raises:
            UserError: as `rank_share`, or the step is negative.
        """
        at_least(0, step=step)
        size = self._settings.batch_size
        return rank_share(self._order.locate(range(step * size, (step + 1) * size)), rank, world_size)

    def ahead(self, step: int, rank: int, world_size: int) -> list[tuple[Store, ShardEntry]]:
        """The shards that a rank will mostly read from a step on, those that it needs first before others."""
        found = self._order.ahead(step * self._settings.batch_size, rank, world_size)
        return [(self._parts[part].store, self._parts[part].shards[shard]) for part, shard in found]

    def check_cache(self, cache: Cache) -> None:
        """Refuse a cache that cannot hold the largest shard.

        Raises:
            UserError: it cannot.
        """
        for part in self._parts:
            cache.check(part.store, part.shards)

    def names(self, places: Iterable[WindowPlace]) -> list[str]:
        """Where the shards of windows lie, for messages."""
        found = dict.fromkeys((place.part, place.shard) for place in places)
        return [self._parts[part].store.where(self._parts[part].shards[shard].name) for part, shard in found]

    def check(self, state: StreamState) -> None:
        """Refuse the state of a stream whose steps are other batches than these.

        Raises:
            UserError: the line names the first setting that differs.
        """
        check_state(state, self.state, self._told)

    def _settings_told(self) -> dict[str, Any]:
        versions = [part.version for part in self._parts]
        told: dict[str, Any] = {"version": versions[0].number} if len(versions) == 1 else {}
        return (
            told
            | vars(self._settings)
            | {
                "weights": self._order.shares,
                "content": [version.hash for version in versions],
                "selection": [part.selection and part.selection.hash for part in self._parts],
                "release": [ORDER_VERSION, BLOCK_SHARDS],
            }
        )


class _Part:
    """One dataset of a stream."""

    def __init__(self, store: Store, settings: BatchSettings, version: int | None) -> None:
        self.store = store
        self.version: Version = read_version(store, version)
        self.shards = [shard for shard in self.version.shards if shard.split == settings.split]
        if not self.shards:
            raise UserError(
                f"split: dataset {store.url} has no split {settings.split!r}; it has "
                f"{', '.join(self.version.splits)}"
            )
        self.selection: Selection | None = None
        clips = [shard.clips_by_frames for shard in self.shards]
        if settings.where is not None:
            self.selection = select(store, self.version, self.shards, settings.where)
            clips = list(self.selection.clips_by_frames)
            if not any(clips):
                raise UserError(
                    f"where: {settings.where!r} holds for no clip of split {settings.split} of dataset "
                    f"{store.url}"
                )
        self.rows = self.selection.rows if self.selection else None
        self.windows = [windows_in(of_shard, settings.window, settings.short) for of_shard in clips]
        if not any(self.windows):
            longest = max(frames for of_shard in clips for frames in of_shard)
            raise UserError(
                f"window: split {settings.split} of dataset {store.url} has no clip of {settings.window} "
                f"frames; the longest has {longest}"
            )


def batch_digest(pairs: Iterable[tuple[str, int]]) -> str:
    """SHA-256 over the sorted (key, start) pairs of a batch's windows, one `key start` a line."""
    lines = "".join(f"{key} {start}\n" for key, start in sorted(pairs))
    return hashlib.sha256(lines.encode()).hexdigest()


def batch_digests(
    dataset: Datasets,
    *,
    world_size: int = 1,
    steps: int,
    from_step: int = 0,
    version: int | None = None,
    **settings: Any,
) -> Iterator[str]:
    """The digest of each global batch, put together from what every rank would read; decodes nothing.

    Args:
        settings: those of `BatchSettings`; `batch_size` is needed.

    Yields:
        The digest of the whole batch for steps `from_step` to `from_step + steps - 1`: the same for
        every `world_size` that divides `batch_size`. A stream's own differs where a damaged window was
        replaced.

    Raises:
        UserError: as `open_stream`.
    """
    batches = GlobalBatches(dataset, BatchSettings(**settings), version=version)
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
        if not isinstance(number, int) or isinstance(number, bool):
            raise UserError(f"{name}: {number!r} is no whole number; give an int, at least {least}")
        if number < least:
            raise UserError(f"{name}: {number} is too small; give at least {least}")
