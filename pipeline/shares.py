"""No more than a share of the clips from one video or one channel.

The share is of all clips that are kept in the end, over all splits. So the fewer clips others have, the
fewer a prolific video may have, and what is kept is the largest number of clips that fulfils both shares
at once. Of a video or channel that has too many, those stay whose hash of seed and key is lowest.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import MaxShare
from pipeline.layout import Int, hashes
from shards.errors import SettingError


def over_share(clips: pa.Table, videos: pa.Table, settings: MaxShare, seed: int) -> tuple[Int, Int]:
    """Which clips are one too many.

    Args:
        clips: those that every rule lets pass, with `key` and `video_id`.
        videos: the catalog of videos, with `video_id` and `channel`. A video whose channel is not known is
            a channel of its own.

    Returns:
        Rows of those that their video has too many of, and of those that their channel has.

    Raises:
        SettingError: no choice of clips fulfils the shares; the line says how many videos or channels it
            takes.
    """
    if not len(clips):
        return _NONE, _NONE
    video = _codes(clips["video_id"])
    channel = _codes(_channels(clips["video_id"], videos))
    sizes = np.bincount(video)
    owner = np.zeros(len(sizes), np.int64)
    owner[video] = channel
    kept = most(sizes, owner, settings)
    if not kept:
        raise SettingError("curate.max_share", _too_few(len(sizes), len(np.unique(owner)), settings))
    order = pc.sort_indices(hashes(f"share:{seed}:", clips["key"].combine_chunks())).to_numpy()
    order = order.astype(np.int64)
    too_many = _after(order, video, _cap(settings.video, kept))
    left = order[~np.isin(order, too_many)]
    return np.sort(too_many), np.sort(_after(left, channel, _cap(settings.channel, kept)))


def most(sizes: Int, owner: Int, settings: MaxShare) -> int:
    """How many clips can be kept at most; 0 if no number of them fulfils the shares.

    With K clips in all, a video may have floor(share K) of them and a channel likewise; f(K) is how many
    that lets through. K can be had if f(K) >= K, and f grows with K: so going from all clips to f of them
    and on ends at the largest K that can be had.

    Args:
        sizes: clips of each video.
        owner: the channel of each video.
    """
    kept = int(sizes.sum())
    while kept:
        of_video = np.minimum(sizes, _cap(settings.video, kept))
        of_channel = np.bincount(owner, weights=of_video).astype(np.int64)
        let_through = int(np.minimum(of_channel, _cap(settings.channel, kept)).sum())
        if let_through >= kept:
            break
        kept = let_through
    return kept


_NONE = np.zeros(0, np.int64)


def _cap(share: float | None, kept: int) -> int:
    """How many of so many clips the share allows; as it is written, 0.1 of 10 is 1."""
    return kept if share is None else int(Fraction(repr(share)) * kept)


def _after(order: Int, group: Int, most_each: int) -> Int:
    """Of rows in their order, those that come after so many of their group."""
    by_group = order[np.argsort(group[order], kind="stable")]
    groups = group[by_group]
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else _NONE
    place = np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
    return by_group[place >= most_each]


def _codes(values: pa.ChunkedArray) -> Int:
    codes = pc.dictionary_encode(values.combine_chunks()).indices
    return np.asarray(codes.to_numpy(), np.int64)


def _channels(video_ids: pa.ChunkedArray, videos: pa.Table) -> pa.ChunkedArray:
    named = videos["channel"].take(pc.index_in(video_ids, value_set=videos["video_id"].combine_chunks()))
    # A channel may be called as a video is.
    return pc.coalesce(
        pc.binary_join_element_wise("channel ", named, ""),
        pc.binary_join_element_wise("video ", video_ids, ""),
    )


def _too_few(videos: int, channels: int, settings: MaxShare) -> str:
    needed = {
        name: int(-(-1 // Fraction(repr(share))))
        for name, share in (("video", settings.video), ("channel", settings.channel))
        if share is not None
    }
    told = " and ".join(f"{count} {name}s" for name, count in needed.items())
    there = {"video": videos, "channel": channels}
    found = " and ".join(f"{there[name]} {name}s" for name in needed)
    evenly = " with enough clips each" if all(there[name] >= needed[name] for name in needed) else ""
    return (
        f"takes kept clips of at least {told}{evenly}, and there are {found}; find more, or raise the share"
    )
