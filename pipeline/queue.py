"""What is to begin, in an order that no site holds up."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol


class Politeness(Protocol):
    """The budgets of sites, as `pipeline.budget.Budgets` keeps them."""

    def take(self, site: str, now_s: float) -> float:
        """0 if a video of the site may begin; else when to ask again; infinite if not in this run."""

    def eta_s(self, waiting: Mapping[str, int], now_s: float) -> float:
        """How long the budgets alone make so many videos of each site take."""

    def end(
        self, site: str, now_s: float, *, requests: int, failure: str | None, retry_after_s: float | None
    ) -> None:
        """A video of the site has ended."""


class Queue:
    """What is to begin, a line for each site; those that need no site fill in while sites make wait.

    Args:
        places: what is to begin, each known by its place among the waiting.
        sites: the site of each place, if it has one.
    """

    def __init__(self, places: Iterable[int], sites: Sequence[str | None], budgets: Politeness) -> None:
        self._lines: dict[str | None, deque[int]] = {}
        for place in places:
            self._lines.setdefault(sites[place], deque()).append(place)
        self._budgets = budgets
        self.given_up: Counter[str] = Counter()
        """Site -> how many of its videos are not begun in this run."""

    def __bool__(self) -> bool:
        return bool(self._lines)

    def take(self) -> tuple[int | None, float]:
        """The next place, or None and for how long there is none."""
        waits_s = []
        for site in sorted(self._lines, key=lambda site: (site is None, site or "")):
            wait_s = self._budgets.take(site, time.time()) if site else 0.0
            if not wait_s:
                line = self._lines[site]
                place = line.popleft()
                if not line:
                    del self._lines[site]
                return place, 0.0
            if site and wait_s == float("inf"):
                self.given_up[site] += len(self._lines.pop(site))
            else:
                waits_s.append(wait_s)
        return None, min(waits_s, default=0.0)
