"""Verify: what a version says against what the store holds, down to the decoded frame.

Here all of it is done in this process, one shard after the other; `pipeline.verify` does the same on an
engine, where bytes that bring a process down take nothing with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from shards.checks.faults import Fault
from shards.checks.shard import Expected, ShardSeen, check_shard
from shards.checks.version import check_fields
from shards.checks.whole import check_whole
from shards.codec import HEIGHT_PX, WIDTH_PX
from shards.manifest import Version
from shards.store import Store

__all__ = ["Fault", "Verified", "exchanged", "expectations", "verify"]


@dataclass(frozen=True)
class Verified:
    """What was checked, and every fault found.

    Attributes:
        version: its number.
        shards: how many it names.
        samples: clips in those of their indexes that could be read.
        decoded: clips that were decoded.
    """

    version: int
    shards: int
    samples: int
    decoded: int
    faults: tuple[Fault, ...]


def verify(
    store: Store,
    version: Version,
    sample: int | None = None,
    on_shard: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check a version.

    Args:
        sample: decode only so many clips, chosen by a hash of their keys; all if None.
        on_shard: is called with the number of shards checked and of all.
    """
    seen: list[ShardSeen] = []
    for expected in expectations(version, sample):
        seen.append(check_shard(store, expected))
        if on_shard:
            on_shard(len(seen), len(version.shards))
    faults = [*check_fields(store, version), *(fault for one in seen for fault in one.faults)]
    faults += [*exchanged(version, seen), *check_whole(store, version)]
    samples, decoded = (sum(getattr(one, name) for one in seen) for name in ("samples", "decoded"))
    return Verified(version.number, len(version.shards), samples, decoded, tuple(faults))


def expectations(version: Version, sample: int | None = None) -> list[Expected]:
    """What each shard of a version is held against.

    Args:
        sample: so many clips of all are decoded, of each shard its share.
    """
    of_curate = version.recipe.get("curate")
    splits = _shares(of_curate.get("splits")) if isinstance(of_curate, dict) else None
    size_px = (WIDTH_PX, HEIGHT_PX) if "frame" in version.recipe else None
    total = max(1, sum(entry.samples for entry in version.shards))
    expected, before = [], 0
    for number, entry in enumerate(version.shards):
        after = before + entry.samples
        decode = None if sample is None else sample * after // total - sample * before // total
        expected.append(Expected(entry, version.name, number, splits, size_px, decode))
        before = after
    return expected


def exchanged(version: Version, seen: Iterable[ShardSeen]) -> Iterator[Fault]:
    """The shards that hold the bytes of another one."""
    owner = {entry.sha256: entry.name for entry in version.shards}
    for one in seen:
        if one.sha256 in owner:
            yield Fault(one.name, f"holds the bytes of {owner[one.sha256]}")


def _shares(splits: Any) -> dict[str, float] | None:
    if not isinstance(splits, dict) or not splits:
        return None
    if not all(isinstance(share, int | float) for share in splits.values()):
        return None
    return {str(name): float(share) for name, share in splits.items()}
