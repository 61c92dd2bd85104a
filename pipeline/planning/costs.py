"""What videos cost: hours, bytes and money, from what they come to; and what the hours depend on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from pipeline.planning.estimate import Draws

Ceiling = Literal["cpu", "network", "budget"]

FIGURES = {
    "source_hours": "hours of source",
    "clips": "clips, before any is dropped",
    "downloaded_bytes": "download",
    "budget_hours": "hours that the sites' budgets ask for",
    "network_hours": "hours of download, one video at a time",
    "cpu_hours": "CPU hours",
    "wall_hours": "hours from start to end",
    "pack_bytes": "packs, and what is kept with them",
    "shard_bytes": "shards, if every clip is kept",
    "machine_usd": "USD for the cores",
    "storage_usd_per_month": "USD for packs and shards, a month",
}
"""The figures there are, and what a person calls them."""

_HOUR_S = 3600.0


@dataclass(frozen=True)
class Terms:
    """What the build shall run on, and what that costs.

    Attributes:
        cores: of the kind that the probe ran on.
        usd_per_cpu_hour: of a core that is held, at work or not.
        usd_per_gb_month: of 10^9 bytes stored.
    """

    cores: int
    usd_per_cpu_hour: float
    usd_per_gb_month: float


class Limit(NamedTuple):
    """What the hours depend on.

    Attributes:
        enough_cores: more do not help; None where every core does, since nothing is downloaded.
    """

    ceiling: Ceiling
    enough_cores: int | None


def figures(totals: Mapping[str, Draws], budget_h: float, terms: Terms) -> dict[str, Draws]:
    """The value of each of `FIGURES`.

    Args:
        totals: what the videos come to: `source_s`, `clips`, `downloaded_bytes`, `network_s`, `cpu_s`,
            `clip_bytes` (the clips and their index), `beside_bytes` (what else is stored).
        budget_h: how long the sites' budgets alone make it.
    """
    cpu_h, network_h = totals["cpu_s"] / _HOUR_S, totals["network_s"] / _HOUR_S
    # One unit at a time is downloaded or cut; of several, one is while the other is.
    busy_h = cpu_h + network_h if terms.cores == 1 else np.maximum(cpu_h / terms.cores, network_h)
    wall_h = np.maximum(busy_h, budget_h)
    pack_bytes = totals["clip_bytes"] + totals["beside_bytes"]
    return {
        "source_hours": totals["source_s"] / _HOUR_S,
        "clips": totals["clips"],
        "downloaded_bytes": totals["downloaded_bytes"],
        "budget_hours": np.full_like(cpu_h, budget_h),
        "network_hours": network_h,
        "cpu_hours": cpu_h,
        "wall_hours": wall_h,
        "pack_bytes": pack_bytes,
        "shard_bytes": totals["clip_bytes"],
        "machine_usd": wall_h * terms.cores * terms.usd_per_cpu_hour,
        "storage_usd_per_month": (pack_bytes + totals["clip_bytes"]) / 1e9 * terms.usd_per_gb_month,
    }


def limit(cpu_h: float, network_h: float, budget_h: float, cores: int) -> Limit:
    """What takes longest with so many cores, and from how many on it is not the CPU."""
    hours: dict[Ceiling, float] = {"cpu": cpu_h / cores, "network": network_h, "budget": budget_h}
    ceiling = max(hours, key=hours.__getitem__)
    download_h = max(network_h, budget_h)
    if not download_h:
        return Limit(ceiling, None)
    if cpu_h + network_h <= budget_h:
        return Limit(ceiling, 1)
    # The second one cuts while the first one waits for the network.
    return Limit(ceiling, max(2, math.ceil(cpu_h / download_h)))


def verdict(found: Limit, wall_h: float, cores: int, site: str) -> str:
    """The same in a line for a person.

    Args:
        site: the one whose budget asks for the most hours.
    """
    time = f"{wall_h:.3g} hours" if wall_h >= 1 else f"{60 * wall_h:.3g} minutes"
    took = f"about {time} on {cores} core{'s' * (cores > 1)}"
    if found.enough_cores is None:
        return f"{took}: the CPU is the ceiling; twice the cores take half the time"
    if found.ceiling == "cpu":
        return (
            f"{took}: the CPU is the ceiling; more cores help up to {found.enough_cores}, "
            "from there on the download is the ceiling"
        )
    what = f"the budget of {site}" if found.ceiling == "budget" else "the network"
    cores_more = f"more than {found.enough_cores} core{'s' * (found.enough_cores > 1)}"
    return f"{took}: {what} is the ceiling; {cores_more} will not help"
