"""How much is asked of a site, and when: as much as a guest may, and nothing while it wants to be left alone.

Time is cut into slots. Whoever creates a slot's object beside the dataset may begin its videos, so that
any number of runs against one dataset stay within one budget, without locks, and one that is killed
costs a slot at most. That a site wants to be left alone is kept there too, so that the next run obeys.

Over any time so many videos begin as the budget allows, and at most those of a slot at either end besides,
since one may be used at its end and another at its start. How many run at once is counted by each run
for itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import Field

from shards.errors import UserError
from shards.settings import Block
from shards.store import Store

DEFAULT_SITE = "default"
"""The name in `sites:` whose settings hold for every site that is not named."""


class SiteSettings(Block):
    """What one site may be asked.

    The defaults are what yt-dlp's guide says YouTube bears from a guest: about 300 videos, or 1,000
    requests for pages and players, an hour.

    Attributes:
        videos_per_hour: so many videos are begun.
        requests_per_hour: so many requests are made for pages and players; videos that need more than
            their share delay those after them.
        concurrency: so many of one run's videos are in work at once, from the first request until they
            are cut.
    """

    videos_per_hour: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    requests_per_hour: float = Field(default=1000.0, gt=0, allow_inf_nan=False)
    concurrency: int = Field(default=16, ge=1)

    @property
    def pause_s(self) -> float:
        """Between two requests of a search, which knows no videos yet."""
        return _HOUR_S / self.requests_per_hour

    @property
    def slot_videos(self) -> int:
        """So many videos may begin in one slot."""
        return math.ceil(self.videos_per_hour / _HOUR_S)

    @property
    def slot_s(self) -> float:
        """How long a slot is: a second or more, for each is an object to be made."""
        return _HOUR_S * self.slot_videos / self.videos_per_hour

    @property
    def requests_per_video(self) -> float:
        """A video's share of the requests."""
        return self.requests_per_hour / self.videos_per_hour


def settings_of(settings: Mapping[str, SiteSettings], site: str) -> SiteSettings:
    """The settings that hold for a site."""
    return settings.get(site) or settings.get(DEFAULT_SITE) or SiteSettings()


class Budgets:
    """The budgets of all sites, for one run.

    Args:
        dataset: its URL; leases and closings lie there.
        settings: by site; `default` is for those that are not named.
    """

    def __init__(self, dataset: str, settings: Mapping[str, SiteSettings]) -> None:
        self._store = Store(dataset)
        self._settings = dict(settings)
        self._sites: dict[str, _Site] = {}

    def take(self, site: str, now_s: float) -> float:
        """0 if one video of the site may begin now; else seconds after which to ask again.

        It is infinite where the site is not asked again in this run. Every 0 is to be followed by an
        `end`.
        """
        state, limits = self._site(site), settings_of(self._settings, site)
        closed_s = self._closed_s(state, now_s)
        if state.given_up or closed_s > _MAX_WAIT_S:
            return math.inf
        if closed_s > 0:
            return closed_s
        if state.running >= limits.concurrency:
            return _ASK_AGAIN_S
        slot = math.floor(now_s / limits.slot_s)
        if state.slot != slot:
            state.slot = slot
            state.places = limits.slot_videos if self._lease(state, limits, slot) else 0
            # What earlier videos asked beyond their share is paid for in places.
            paid = min(state.places, math.floor(state.debt / limits.requests_per_video))
            state.places -= paid
            state.debt -= paid * limits.requests_per_video
        if state.places <= 0:
            return max((slot + 1) * limits.slot_s - now_s, _SHORTEST_WAIT_S)
        state.places -= 1
        state.running += 1
        return 0.0

    def end(
        self, site: str, now_s: float, *, requests: int, failure: str | None, retry_after_s: float | None
    ) -> None:
        """One video of the site has ended.

        Args:
            requests: what the site was asked for it.
            failure: class of its failure, if it failed.
            retry_after_s: how long the site asked to be left alone; 0 if it did not say how long. None
                with a failure `throttled` is a site that refuses, or asks for a human.
        """
        state, limits = self._site(site), settings_of(self._settings, site)
        state.running = max(0, state.running - 1)
        if requests:
            state.ended += 1
            state.requests += requests
            state.debt = max(0.0, state.debt + requests - limits.requests_per_video)
        if retry_after_s:
            wait_s = min(retry_after_s, _LONGEST_CLOSED_S)
            self._close(state, now_s, wait_s, f"asked to be left alone for {wait_s:.0f} s")
        elif retry_after_s is not None:
            wait_s = self._backed_off_s(state, now_s, _FIRST_THROTTLED_S, _MAX_THROTTLED_S)
            self._close(state, now_s, wait_s, "said that there were too many requests")
        elif failure == "throttled":
            state.refusals += 1
            if state.refusals >= _REFUSALS:
                state.refusals = 0
                wait_s = self._backed_off_s(state, now_s, _FIRST_REFUSED_S, _MAX_REFUSED_S)
                self._close(state, now_s, wait_s, f"refused {_REFUSALS} videos in a row")
        elif failure is None and requests:
            state.refusals = 0
            if self._closed_s(state, now_s) <= 0:
                state.closings = 0
                self._store.remove(state.closed_name)

    def eta_s(self, waiting: Mapping[str, int], now_s: float) -> float:
        """How long the budgets alone make videos take, were everything else for nothing.

        Args:
            waiting: site -> number of videos; a site that is given up makes nobody wait.
        """
        return max((self._eta_s(site, count, now_s) for site, count in waiting.items() if count), default=0.0)

    def left_alone_s(self, site: str, now_s: float) -> float:
        """How much longer the site wants to be left alone."""
        return self._closed_s(self._site(site), now_s)

    def closed(self, now_s: float) -> dict[str, float]:
        """The sites that want to be left alone, and until when."""
        waits_s = {site: self._closed_s(state, now_s) for site, state in self._sites.items()}
        return {site: now_s + wait_s for site, wait_s in sorted(waits_s.items()) if wait_s > 0}

    def _site(self, site: str) -> _Site:
        if site not in self._sites:
            self._sites[site] = _Site(f"budgets/{_path_part(site)}")
        return self._sites[site]

    def _lease(self, state: _Site, limits: SiteSettings, slot: int) -> bool:
        # Named by its time, so that slots of another length, as of other settings, can be told old too.
        start_s = slot * limits.slot_s
        leased = self._store.create(state.slot_name(start_s), b"{}\n")
        if leased and not state.cleaned_s - _OLD_S < start_s < state.cleaned_s + _OLD_S:
            state.cleaned_s = start_s
            for name in self._store.list(state.slots):
                lies_s = state.slot_start_s(name)
                # A slot of the future is of a clock that was set back since.
                if lies_s is None or not start_s - _OLD_S < lies_s < start_s + _OLD_S:
                    self._store.remove(name)
        return leased

    def _backed_off_s(self, state: _Site, now_s: float, first_s: float, most_s: float) -> float:
        """`first_s`, doubled with every closing since the site last gave something."""
        closing = self._read_closing(state)
        before = closing.closings - (self._closed_s(state, now_s) > 0) if closing else 0
        return min(first_s * 2.0 ** min(before, _MAX_DOUBLINGS), most_s)

    def _close(self, state: _Site, now_s: float, wait_s: float, why: str) -> None:
        closing = self._read_closing(state)
        until_s = now_s + wait_s
        closings = closing.closings if closing else 0
        if closing and self._closed_s(state, now_s) > 0:
            # Videos that were under way together are told the same thing, once each.
            until_s = max(until_s, now_s + self._closed_s(state, now_s))
        else:
            closings += 1
            state.closings += 1
        self._write_closing(state, _Closing(now_s, until_s, closings, why))

    def _closed_s(self, state: _Site, now_s: float) -> float:
        closing = self._read_closing(state)
        if closing is None:
            return 0.0
        if now_s < closing.at_s - _CLOCK_S:
            # The clock was set back: what is told in its old time would never pass.
            closing = closing._replace(at_s=now_s, until_s=now_s + closing.until_s - closing.at_s)
            self._write_closing(state, closing)
        return max(0.0, closing.until_s - now_s)

    def _read_closing(self, state: _Site) -> _Closing | None:
        try:
            return _Closing(**json.loads(self._store.read(state.closed_name)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            path = self._store.where(state.closed_name)
            raise UserError(f"{path}: is damaged; delete it if the site may be asked again") from None

    def _write_closing(self, state: _Site, closing: _Closing) -> None:
        self._store.put(state.closed_name, json.dumps(closing._asdict(), sort_keys=True).encode() + b"\n")

    def _eta_s(self, site: str, count: int, now_s: float) -> float:
        state, limits = self._site(site), settings_of(self._settings, site)
        closed_s = self._closed_s(state, now_s)
        if state.given_up or closed_s > _MAX_WAIT_S:
            return 0.0
        mean_requests = state.requests / state.ended if state.ended else 0.0
        share = max(1.0, mean_requests / limits.requests_per_video)
        videos = count * share + state.debt / limits.requests_per_video
        return closed_s + videos * _HOUR_S / limits.videos_per_hour


class _Closing(NamedTuple):
    """A site is left alone: since when, until when, how often since it last gave something, and why."""

    at_s: float
    until_s: float
    closings: int
    why: str


@dataclass
class _Site:
    """What a run knows of a site.

    Attributes:
        folder: of its objects.
        running: videos that were begun and have not ended.
        slot: the slot that was asked for last.
        places: videos of that slot that may still begin.
        debt: requests that were made beyond the videos' shares.
        ended: videos that made requests.
        requests: that they made.
        refusals: in a row.
        closings: in this run, since the last success.
        cleaned_s: when old slots were last taken away.
    """

    folder: str
    running: int = 0
    slot: int | None = None
    places: int = 0
    debt: float = 0.0
    ended: int = 0
    requests: int = 0
    refusals: int = 0
    closings: int = 0
    cleaned_s: float = field(default=-math.inf)

    @property
    def given_up(self) -> bool:
        """Whether it is not asked again in this run."""
        return self.closings >= _MAX_CLOSINGS

    @property
    def closed_name(self) -> str:
        """The object that says that it wants to be left alone."""
        return f"{self.folder}/closed.json"

    @property
    def slots(self) -> str:
        """The folder of its leases."""
        return f"{self.folder}/slots"

    def slot_name(self, start_s: float) -> str:
        """The lease of a slot."""
        return f"{self.slots}/{round(start_s * 1000)}.json"

    def slot_start_s(self, name: str) -> float | None:
        """The inverse of `slot_name`; None if it is no lease's name."""
        number = name.removeprefix(f"{self.slots}/").removesuffix(".json")
        return int(number) / 1000 if re.fullmatch(r"-?\d{1,15}", number) else None


def _path_part(site: str) -> str:
    """A folder's name for a site, whatever a stranger calls it."""
    plain = re.sub(r"[^a-z0-9.]+", "-", site.lower()).strip(".-")
    if plain == site and len(plain) <= _MAX_PART_CHARS:
        return plain
    digest = hashlib.sha256(site.encode(errors="replace")).hexdigest()[:12]
    return f"{plain[:_MAX_PART_CHARS]}-{digest}"


_HOUR_S = 3600.0
_OLD_S = 600.0
_CLOCK_S = 60.0
_ASK_AGAIN_S = 0.25
_SHORTEST_WAIT_S = 0.001
_MAX_PART_CHARS = 60

_REFUSALS = 3
_MAX_CLOSINGS = 3
_MAX_DOUBLINGS = 16
_FIRST_THROTTLED_S = 60.0
_MAX_THROTTLED_S = 3600.0
_FIRST_REFUSED_S = 900.0
_MAX_REFUSED_S = 4 * 3600.0
_LONGEST_CLOSED_S = 7 * 24 * 3600.0

_MAX_WAIT_S = 4 * 3600.0
"""A run does not wait for a site any longer."""
