"""The run: brings every waiting unit to its end, or says why not.

A unit that takes its process along is tried again alone, and kept apart after three deaths alone: only
then is it the culprit. A process that was killed from outside says less, and it takes more of them.
What fails for a reason that may pass is tried again behind all others. What is lost with its node is
handed to another. The innocent lose nothing.
"""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Protocol

import pyarrow.compute as pc

from pipeline.attempts import AttemptLog, attempt_journal, deaths_alone
from pipeline.engine import Died, Done, Engine, Expired, Lost, NotYet, Outcome, Part, Raised, Refused, Work
from pipeline.ingest import Ended, Unit, ingest
from pipeline.ledger import Waiting
from pipeline.outcomes import PENDING, TRANSIENT_FAILURES, is_final
from pipeline.progress import Progress
from pipeline.queue import Politeness, Queue
from pipeline.watchdog import Watchdog
from shards.commits import commit_journal, commit_name
from shards.errors import UserError
from shards.records import Video
from shards.store import Store

MAX_TRIES = 3
"""A unit that fails for a passing reason, or dies alone, is tried so often in one run."""

_MAX_TIMEOUTS = 2
_MAX_LOSSES = 10
"""What happens to a unit from outside is borne so often in one run."""
_BACKOFF_S = 2.0
_BACKOFF_GROWS = 4
_BATCH = 16
_TOLD_HOURS = 0.1
_COMPACT_EVERY = 1000


class MakeUnit(Protocol):
    """Makes the unit of a video, and knows whose server it is on."""

    def __call__(self, video: Video) -> Unit:
        """The unit."""

    def site(self, video: Video) -> str | None:
        """The site that is asked for it; None if none is."""


class Run:
    """One run over waiting videos.

    Args:
        waiting: the videos.
        make: makes their units.
        settings: hash of what shapes the clips.
    """

    def __init__(
        self,
        store: Store,
        settings: str,
        waiting: Waiting,
        make: MakeUnit,
        *,
        engine: Engine,
        budgets: Politeness,
        progress: Progress,
    ) -> None:
        self._store = store
        self._settings = settings
        self._waiting = waiting
        self._make = make
        self._engine = engine
        self._budgets = budgets
        self._progress = progress
        self._log = AttemptLog(store, settings)
        self._watchdog = Watchdog(progress.note)
        self._sites = [make.site(video) for video in waiting]
        self._places = {video_id: place for place, video_id in enumerate(waiting.video_ids)}
        self._deaths = deaths_alone(store, settings)
        self._failed: Counter[int] = Counter()
        self._lost: Counter[int] = Counter()
        self._killed: Counter[int] = Counter()
        self._done_elsewhere: set[str] = set()
        self._segments: set[str] = set()
        self._suspects: list[int] = []
        self._again: list[int] = []
        self._ended = self._left = 0

    def bring_to_an_end(self) -> None:
        """Ingest every waiting video.

        Raises:
            UserError: something has to be mended before anything can go on.
        """
        pause_s = _BACKOFF_S
        self._tell_of_budgets()
        with self._log, self._watchdog:
            self._round(range(len(self._waiting)), alone=False)
            while self._suspects or self._again:
                while self._suspects:
                    suspects, self._suspects = self._suspects, []
                    self._round(suspects, alone=True)
                again, self._again = self._again, []
                if again:
                    self._round(again, alone=False, pause_s=pause_s)
                    pause_s *= _BACKOFF_GROWS
        if self._ended + self._left != len(self._waiting):
            raise RuntimeError(
                f"{len(self._waiting)} videos waited, {self._ended} ended, {self._left} were left"
            )

    def _round(self, places: Iterable[int], *, alone: bool, pause_s: float = 0.0) -> None:
        units = self._begin(Queue(places, self._sites, self._budgets), pause_s, alone=alone)
        for unit, outcome in self._engine.run(_INGEST, units, _first_part, alone=alone):
            self._watchdog.ends(unit.video.video_id)
            self._end(unit, outcome, alone=alone)

    def _begin(self, queue: Queue, pause_s: float, *, alone: bool) -> Iterator[Unit | NotYet]:
        if pause_s:
            yield NotYet(pause_s)
        while queue:
            batch: list[Unit] = []
            wait_s = next_s = 0.0
            while queue and not wait_s and len(batch) < _BATCH:
                place, wait_s = queue.take()
                next_s = time.monotonic() + wait_s
                if place is None:
                    continue
                unit = self._make(self._waiting[place])
                if self._is_done(unit.video.video_id):
                    # Another run of the same config was faster.
                    self._give_back(place, 0, None, None)
                    self._count(unit.video.video_id, "done by another run")
                else:
                    batch.append(unit)
            if batch:
                self._log.begin([unit.video.video_id for unit in batch], alone=alone)
            for unit in batch:
                self._watchdog.begins(unit.video.video_id)
                yield unit
            # What was begun may have taken longer than there was to wait.
            if wait_s and queue and next_s > time.monotonic():
                yield NotYet(next_s - time.monotonic())
        self._left += queue.given_up.total()
        for site, count in queue.given_up.items():
            self._progress.note(f"{site} wants to be left alone: {count} videos wait for a later run")

    def _is_done(self, video_id: str) -> bool:
        """Whether another run has committed it since this one began."""
        commits = commit_journal(self._store)
        news = commits.news(self._segments, ["settings", "video_id"])
        ours = news.filter(pc.equal(news["settings"], self._settings))
        self._done_elsewhere.update(ours["video_id"].to_pylist())
        return video_id in self._done_elsewhere or commits.exists(commit_name(video_id, self._settings))

    def _tell_of_budgets(self) -> None:
        waiting = Counter(site for site in self._sites if site)
        for site, count in waiting.items():
            hours = self._budgets.eta_s({site: count}, time.time()) / 3600
            if hours >= _TOLD_HOURS:
                self._progress.note(f"{site}: {count} videos take {hours:.1f} hours by its budget alone")

    def _end(self, unit: Unit, outcome: Outcome[Ended], *, alone: bool) -> None:
        video_id = unit.video.video_id
        place = self._places[video_id]
        match outcome:
            case Done(ended):
                failure = ended.state.removeprefix("failed:") if ended.state.startswith("failed:") else None
                self._give_back(place, ended.requests, failure, ended.retry_after_s)
                if failure == "crashed":
                    # What it had started for its work died: ffmpeg, or the downloader.
                    self._died(place, ended.detail or "", "", alone=alone, from_outside=ended.passing)
                elif failure in TRANSIENT_FAILURES:
                    self._failed_for_now(place, ended.state, ended.detail, passing=ended.passing)
                else:
                    if not is_final(ended.state):
                        self._log.end(video_id, ended.state, ended.detail, passing=False, log=None)
                    self._count(video_id, ended.state)
                return
            case Refused(message):
                raise UserError(message)
            case Raised(error, trace):
                self._failed_for_now(place, "failed:bug", error, passing=False, log=trace)
            case Expired(deadline_s):
                detail = f"took longer than {deadline_s:.0f} s"
                self._failed_for_now(place, "failed:timeout", detail, passing=True, tries=_MAX_TIMEOUTS)
            case Died(exit_code=exit_code, log=log):
                detail = f"its process died (exit code {exit_code})"
                self._died(place, detail, log, alone=alone, from_outside=outcome.from_outside)
            case Lost(cause):
                self._lost_with_its_node(place, cause, alone=alone)
        self._give_back(place, 0, "crashed", None)

    def _failed_for_now(
        self,
        place: int,
        state: str,
        detail: str | None,
        *,
        passing: bool,
        log: str | None = None,
        tries: int = MAX_TRIES,
    ) -> None:
        video_id = self._waiting.video_ids[place]
        self._log.end(video_id, state, detail, passing=passing, log=log)
        self._failed[place] += 1
        if passing and self._failed[place] < tries:
            self._again.append(place)
            return
        self._progress.note(f"{video_id}: {state}: {detail}")
        self._count(video_id, state)

    def _died(self, place: int, detail: str, log: str, *, alone: bool, from_outside: bool) -> None:
        video_id = self._waiting.video_ids[place]
        self._deaths[video_id] += alone and not from_outside
        self._killed[place] += from_outside
        if self._deaths[video_id] < MAX_TRIES and self._killed[place] < _MAX_LOSSES:
            self._log.died(
                video_id, PENDING, f"{detail}; to be tried alone", alone=alone and not from_outside, log=log
            )
            self._suspects.append(place)
            return
        times = self._killed[place] if from_outside else self._deaths[video_id]
        detail += f", {times} times; kept apart"
        self._log.died(video_id, "failed:crashed", detail, alone=alone, log=log)
        name = quarantine_name(video_id, self._settings)
        self._store.put(name, _quarantine(self._store, video_id, detail, log))
        self._progress.note(f"{video_id}: failed:crashed: {detail}; {name} says what it said last")
        self._count(video_id, "failed:crashed")

    def _lost_with_its_node(self, place: int, cause: str, *, alone: bool) -> None:
        if "OutOfMemory" in cause and alone:
            # Ray's memory monitor struck, and nobody else was there to be struck for.
            detail = f"it took all the memory of its node ({cause})"
            self._died(place, detail, "", alone=True, from_outside=False)
            return
        self._lost[place] += 1
        if self._lost[place] >= _MAX_LOSSES:
            detail = f"lost with its node {_MAX_LOSSES} times, last: {cause}"
            self._failed_for_now(place, "failed:crashed", detail, passing=True, tries=0)
        elif "OutOfMemory" in cause:
            self._suspects.append(place)
        else:
            self._again.append(place)

    def _give_back(self, place: int, requests: int, failure: str | None, retry_after_s: float | None) -> None:
        if site := self._sites[place]:
            self._budgets.end(
                site, time.time(), requests=requests, failure=failure, retry_after_s=retry_after_s
            )

    def _count(self, video_id: str, state: str) -> None:
        self._ended += 1
        self._progress.step("ingest", self._ended, len(self._waiting), f"{video_id}: {state}")
        if self._ended % _COMPACT_EVERY == 0:
            commit_journal(self._store).compact()
            attempt_journal(self._store).compact()


_INGEST: Work[Unit, Ended] = ingest


def quarantine_name(video_id: str, settings: str) -> str:
    """The object that tells of a video which is kept apart."""
    return f"quarantine/{video_id}-{settings}.json"


def _quarantine(store: Store, video_id: str, detail: str, log: str) -> bytes:
    config = shlex.quote(store.where("config.json"))
    body = {
        "video_id": video_id,
        "detail": detail,
        "said_last": log,
        "reproduce": f"genieset ingest {config} --only {video_id} --retry crashed",
    }
    return json.dumps(body, indent=1).encode() + b"\n"


_MIN_DEADLINE_S = 1800.0
_DEADLINE_PER_SOURCE_S = 2.5
_UNKNOWN_DURATION_S = 12 * 3600.0
_MAX_DURATION_S = 24 * 3600.0

# What a modest rendition takes up: 1.2 Mbit/s is much for 360 rows.
_SCRATCH_BYTES_PER_S = 150_000


def _first_part(unit: Unit) -> Part:
    """To fetch a video and to look at it; the cut has a part of its own."""
    told_s = min(unit.video.duration_s or _UNKNOWN_DURATION_S, _MAX_DURATION_S)
    deadline_s = max(_MIN_DEADLINE_S, _DEADLINE_PER_SOURCE_S * told_s)
    if unit.remote:
        return Part(deadline_s, "network", int(told_s * _SCRATCH_BYTES_PER_S))
    return Part(deadline_s)
