"""Which shard each kept clip lies in, and where: one pure function of the clips, a parent and a seed.

A version keeps its parent's layout, so that what is published once stays where it is: a clip that stays
keeps its shard and its place among those that stay; a shard that loses a clip is there under its number
without it, and one that loses all is left out; clips that are new fill shards of their own with the next
numbers. A clip whose bytes changed is lost and new.

New clips are dealt out in the order of a hash of seed and key, so that neighbours are strangers. Which
split a clip is in is decided before: by its video.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.tar import members_room

Int: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Held:
    """A shard of the parent.

    Attributes:
        keys: of its clips, in the order of the tar; none of them if nobody can tell any more.
        content: for each, what `Clips.content` says of it there; null, if nobody can tell, is the same.
    """

    split: str
    number: int
    keys: pa.Array
    content: pa.Array


@dataclass(frozen=True)
class Shard:
    """A shard to be.

    Attributes:
        rows: its clips in order, as rows of what was laid out.
        stays: whether the parent's shard of this split and number holds the very same.
    """

    split: str
    number: int
    rows: Int
    stays: bool


@dataclass(frozen=True)
class Clips:
    """Clips to be laid out, a row each, in any order.

    Attributes:
        keys: strings, each once.
        splits: strings.
        sizes_bytes: int64, what a clip takes up in a tar.
        content: any Arrow type that has equality: two rows are the same bytes if they agree in it.
    """

    keys: pa.Array
    splits: pa.Array
    sizes_bytes: Int
    content: pa.Array


def lay_out(
    clips: Clips, parent: Sequence[Held], *, seed: int, max_bytes: int, anew: bool = False
) -> tuple[Shard, ...]:
    """The shards of a version, by split and number.

    Args:
        parent: the shards of the version before, by split and number.
        max_bytes: no tar that is filled here is larger, unless one clip alone is.
        anew: keep nothing of the parent's layout; a shard that comes out the same stays all the same.
    """
    held = _rows_of(clips, parent)
    dealt = np.zeros(len(clips.keys), bool)
    shards: dict[tuple[str, int], Int] = {}
    if not anew:
        for shard, rows in zip(parent, held, strict=True):
            left = rows[rows >= 0]
            dealt[left] = True
            if len(left):
                shards[shard.split, shard.number] = left
    new = np.flatnonzero(~dealt)
    splits = clips.splits.dictionary_encode()
    codes = np.asarray(splits.indices)[new]
    for code, split in enumerate(splits.dictionary.to_pylist()):
        taken = [] if anew else [shard.number for shard in parent if shard.split == split]
        rows = _shuffled(clips.keys, new[codes == code], seed)
        filled = _filled(rows, clips.sizes_bytes, max_bytes)
        shards |= {(split, number): part for number, part in enumerate(filled, max(taken, default=-1) + 1)}
    before = {(shard.split, shard.number): rows for shard, rows in zip(parent, held, strict=True)}
    return tuple(
        Shard(split, number, rows, np.array_equal(rows, before.get((split, number), _NONE)))
        for (split, number), rows in sorted(shards.items(), key=lambda shard: shard[0])
    )


_NONE = np.zeros(0, np.int64)


def _rows_of(clips: Clips, parent: Sequence[Held]) -> list[Int]:
    """For each shard of the parent the rows of its clips, -1 for one that is lost."""
    if not parent:
        return []
    keys = pa.chunked_array([shard.keys for shard in parent], pa.string())
    found = pc.index_in(keys, value_set=clips.keys)
    split = pa.chunked_array([pa.repeat(shard.split, len(shard.keys)) for shard in parent], pa.string())
    content = pa.chunked_array([shard.content for shard in parent], clips.content.type)
    of = found.combine_chunks()
    same = pc.and_(
        pc.fill_null(pc.equal(content, clips.content.take(of)), True), pc.equal(split, clips.splits.take(of))
    )
    # What is not found has no split to agree in.
    rows = np.where(pc.fill_null(same, False).to_numpy(), pc.fill_null(found, -1).to_numpy(), -1)
    ends = np.cumsum([len(shard.keys) for shard in parent])
    return [part.astype(np.int64) for part in np.split(rows, ends[:-1])]


def _shuffled(keys: pa.Array, rows: Int, seed: int) -> Int:
    """These rows in the order of a hash of seed and key."""
    chosen = keys.take(pa.array(rows))
    order: Int = pc.sort_indices(hashes(f"shard:{seed}:", chosen)).to_numpy().astype(np.int64)
    return rows[order]


def hashes(salt: str, keys: pa.Array) -> pa.Array:
    """SHA-256 of salt and key for each key: a random order of them that is always the same."""
    digests = b"".join(hashlib.sha256((salt + key).encode()).digest() for key in keys.to_pylist())
    size = hashlib.sha256().digest_size
    return pa.Array.from_buffers(pa.binary(size), len(keys), [None, pa.py_buffer(digests)])


def _filled(rows: Int, sizes_bytes: Int, max_bytes: int) -> Iterator[Int]:
    """The rows in shards, each filled in turn."""
    ends = np.cumsum(sizes_bytes[rows])
    start = 0
    while start < len(rows):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + members_room(max_bytes), side="right"))
        yield rows[start : max(stop, start + 1)]
        start = max(stop, start + 1)
