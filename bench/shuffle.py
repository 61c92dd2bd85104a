"""How well the order of windows mixes, and how few files each rank opens for it; nothing is decoded.

The measure is a permutation of all windows of an epoch, which mixes as well as chance and makes every rank
read everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from shards.index import index_name
from shards.manifest import ShardEntry
from shards.store import Store
from trainer_bridge.order import WindowOrder, WindowPlace, permutation, rank_share, windows_in

_RANKS = 8
_BATCHES = 64


@dataclass(frozen=True)
class Mix:
    """What batches of one order are like.

    Attributes:
        same_clip: share of the pairs of windows in a batch that are of the same clip, in 0 to 1.
        same_video: likewise, of the same source video.
        shards_per_rank: shards that a rank reads for its part of a batch, in the mean.
    """

    same_clip: float
    same_video: float
    shards_per_rank: float


@dataclass(frozen=True)
class ShuffleQuality:
    """What `shuffle_quality` found.

    Attributes:
        ours: the order of streams, each rank with a slice of the sorted batch.
        permuted: a permutation of the whole epoch, shared out as it comes.
        unsorted_shards_per_rank: our batches, if ranks shared them out as they come.
    """

    batches: int
    ranks: int
    ours: Mix
    permuted: Mix
    unsorted_shards_per_rank: float


def shuffle_quality(
    store: Store, shards: Sequence[ShardEntry], window: int, seed: int, batch_size: int
) -> ShuffleQuality:
    """Look at batches spread over the first epoch."""
    clips, videos, offsets = _owners(store, shards, window)
    counts = [windows_in(entry.clips_by_frames, window) for entry in shards]
    order = WindowOrder(counts, seed)
    total = order.windows_per_epoch
    steps = total // batch_size
    chosen = range(0, steps, max(steps // _BATCHES, 1))
    ranks = max(ranks for ranks in (1, 2, 4, _RANKS) if batch_size % ranks == 0)
    permuted = permutation(total, seed)
    shard_of = np.repeat(np.arange(len(shards)), np.diff([*offsets, total]))
    mixes, permuted_mixes, unsorted = [], [], []
    for step in chosen:
        places = order.locate(range(step * batch_size, (step + 1) * batch_size))
        shares = [rank_share(places, rank, ranks) for rank in range(ranks)]
        windows = _numbers(places, offsets)
        mixes.append(_mix(clips[windows], videos[windows], [[p.shard for p in share] for share in shares]))
        unsorted.append(_touched(np.array_split([place.shard for place in places], ranks)))
        windows = permuted[step * batch_size : (step + 1) * batch_size]
        split = np.array_split(shard_of[windows], ranks)
        permuted_mixes.append(_mix(clips[windows], videos[windows], split))
    return ShuffleQuality(len(chosen), ranks, _mean(mixes), _mean(permuted_mixes), fmean(unsorted))


def _owners(store: Store, shards: Sequence[ShardEntry], window: int) -> tuple[Any, Any, Any]:
    """For each window of an epoch the number of its clip and of its video; each shard's first window."""
    counts, names = [], []
    for entry in shards:
        index = store.read_table(index_name(entry.name), columns=["video_id", "n_frames"])
        counts.append(index["n_frames"].to_numpy() // window)
        names += index["video_id"].to_pylist()
    videos = np.unique(np.array(names), return_inverse=True)[1]
    every = np.concatenate(counts)
    offsets = np.cumsum([0, *(count.sum() for count in counts[:-1])])
    return np.repeat(np.arange(len(every)), every), np.repeat(videos, every), offsets


def _numbers(places: Sequence[WindowPlace], offsets: Any) -> Any:
    return np.array([offsets[place.shard] + place.window for place in places])


def _mix(clips: Any, videos: Any, shards_of_ranks: Sequence[Any]) -> Mix:
    return Mix(_same(clips), _same(videos), _touched(shards_of_ranks))


def _same(owners: Any) -> float:
    _, counts = np.unique(owners, return_counts=True)
    return float((counts * (counts - 1)).sum() / (len(owners) * (len(owners) - 1)))


def _touched(shards_of_ranks: Sequence[Any]) -> float:
    return fmean(len(np.unique(shards)) for shards in shards_of_ranks)


def _mean(mixes: Sequence[Mix]) -> Mix:
    return Mix(
        fmean(mix.same_clip for mix in mixes),
        fmean(mix.same_video for mix in mixes),
        fmean(mix.shards_per_rank for mix in mixes),
    )
