"""The plan: what a build will take, from a few of its videos.

Nothing of the probe is wasted: its videos are ingested into the dataset as any others are, their
attempts are in the books, and a build goes on from there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline import build as stages
from pipeline import candidates
from pipeline.budget import Budgets
from pipeline.config import BuildConfig
from pipeline.engine import Engine
from pipeline.ingest import Unit, score_name
from pipeline.ledger import Books, Ingested
from pipeline.planning.costs import FIGURES, Limit, Terms, figures, limit, verdict
from pipeline.planning.estimate import Interval, Probed, interval, predict_totals, spread
from pipeline.planning.meter import Meter, Spent
from pipeline.progress import Progress
from pipeline.scratch import held_bytes
from shards.errors import UserError
from shards.index import index_name
from shards.runs import announce
from shards.store import Store

_HOUR_S = 3600.0

# A listing is a stranger's word: what it says beyond is taken as unsaid.
_MIN_TOLD_S, _MAX_TOLD_S = 1.0, 24 * _HOUR_S


@dataclass(frozen=True)
class Plan:
    """What all videos come to that waited when the plan was made, those of the probe included.

    Attributes:
        waiting: how many they were.
        probed: state -> number of the videos that were measured.
        figures: the name of each of `FIGURES` -> what is expected.
        limit: what the hours depend on.
        problems: parts of sources that could not be read, one line each.
        verdict: one line for a person.
    """

    waiting: int
    probed: dict[str, int]
    figures: dict[str, Interval]
    limit: Limit
    problems: tuple[str, ...]
    verdict: str


def plan(config: BuildConfig, terms: Terms, sample: int, engine: Engine, progress: Progress) -> Plan:
    """Ingest a sample of the waiting videos, and tell from it what all of them take.

    Args:
        sample: how many, >= 1; fewer if fewer wait.
        engine: does one unit at a time, so that they don't take from each other what is measured.

    Raises:
        UserError: nothing waits, or none of the sample could be tried.
    """
    with announce(Store(config.dataset), "build"):
        return _plan(config, terms, sample, engine, progress)


def _plan(config: BuildConfig, terms: Terms, sample: int, engine: Engine, progress: Progress) -> Plan:
    problems: tuple[str, ...] = ()
    books = stages.books_of(config)
    if not len(books.rows):
        problems = stages.discover(config, progress)
        books = stages.books_of(config)
    waiting = _waiting(config, books)
    budgets = stages.site_budgets(config)
    probed, states = _probe(config, books, waiting, sample, engine, budgets, progress)
    rest = [video.told_s for video in waiting if video.video_id not in probed]
    totals = predict_totals(list(probed.values()), rest, config.curate.seed)
    site, budget_h = _slowest_site(waiting, budgets)
    drawn = figures(totals, budget_h, terms)
    cpu_h, network_h = (float(drawn[f"{name}_hours"][0]) for name in ("cpu", "network"))
    found = limit(cpu_h, network_h, budget_h, terms.cores)
    return Plan(
        waiting=len(waiting),
        probed=states,
        figures={name: interval(drawn[name]) for name in FIGURES},
        limit=found,
        problems=problems,
        verdict=verdict(found, float(drawn["wall_hours"][0]), terms.cores, site),
    )


class _Waiting(NamedTuple):
    """What a plan needs to know of a video."""

    source: int
    site: str
    told_s: float | None
    video_id: str


def _waiting(config: BuildConfig, books: Books) -> list[_Waiting]:
    """The waiting videos, those side by side that are alike."""
    owners = candidates.source_of(Store(config.dataset), config.sources)
    numbers = {id(source): number for number, source in enumerate(config.sources)}
    found = []
    for video in books.waiting():
        source, told_s = owners[video.video_id], video.duration_s
        if told_s is not None and not _MIN_TOLD_S <= told_s <= _MAX_TOLD_S:
            told_s = None
        found.append(_Waiting(numbers[id(source)], source.site(video) or "", told_s, video.video_id))
    if not found:
        states = ", ".join(f"{count} {state}" for state, count in books.counts().items())
        raise UserError(f"dataset {config.dataset}: no video waits to be ingested ({states or 'none found'})")
    return sorted(found, key=lambda video: (*video[:2], video.told_s or 0.0, video.video_id))


def _probe(
    config: BuildConfig,
    books: Books,
    waiting: list[_Waiting],
    sample: int,
    engine: Engine,
    budgets: Budgets,
    progress: Progress,
) -> tuple[dict[str, Probed], dict[str, int]]:
    """The videos that were measured, and how many of them ended how."""
    chosen = [waiting[place] for place in spread(len(waiting), sample, config.curate.seed)]
    meter = Meter(engine, _held_bytes)
    only = books.waiting(only=[video.video_id for video in chosen])
    stages.ingest_waiting(config, only, meter, budgets, progress)
    books = stages.books_of(config)
    packs = {entry.video_id: entry for entry in books.ingested()}
    stored = _Stored(config)
    probed: dict[str, Probed] = {}
    states: Counter[str] = Counter()
    for video in chosen:
        spent = [
            part for unit, parts in meter.spent if unit.video.video_id == video.video_id for part in parts
        ]
        state = books.state(video.video_id).state
        # One that has neither was left alone, or another run was faster.
        if spent or state.startswith("failed:"):
            states[state] += 1
            found_s = books.video(video.video_id).duration_s or 0.0
            amounts = {"source_s": found_s if found_s <= _MAX_TOLD_S else 0.0}
            amounts |= _spent_amounts(spent) | stored.amounts(packs.get(video.video_id))
            probed[video.video_id] = Probed(video.told_s, amounts)
    if not probed:
        raise UserError(
            f"dataset {config.dataset}: none of the {len(chosen)} videos chosen could be tried now"
        )
    return probed, dict(sorted(states.items()))


def _held_bytes(unit: Unit) -> int:
    """What was downloaded; nothing where the bytes were here before."""
    return held_bytes(unit.store, unit.video.video_id)


def _spent_amounts(spent: list[Spent]) -> dict[str, float]:
    network = [part for part in spent if part.side == "network"]
    return {
        "downloaded_bytes": float(max((part.held_bytes for part in network), default=0)),
        "network_s": sum(part.wall_s for part in network),
        "cpu_s": sum(part.cpu_s for part in spent),
    }


class _Stored:
    """Tells what lies in the dataset of a video."""

    def __init__(self, config: BuildConfig) -> None:
        self._store = Store(config.dataset)
        self._scorers = config.measured
        self._packs = self._store.list("packs")

    def amounts(self, ingested: Ingested | None) -> dict[str, float]:
        if ingested is None:
            return {"clips": 0.0, "clip_bytes": 0.0, "beside_bytes": 0.0}
        pack = ingested.pack
        clips = [pack, index_name(pack)]
        stem = pack.removesuffix(".tar") + "."
        beside = [name for name in self._packs if name.startswith(stem) and name not in clips]
        beside += [score_name(scorer, pack) for scorer in self._scorers]
        return {
            "clips": float(ingested.clips),
            "clip_bytes": float(sum(map(self._store.size_bytes, clips))),
            "beside_bytes": float(sum(map(self._store.size_bytes, beside))),
        }


def _slowest_site(waiting: list[_Waiting], budgets: Budgets) -> tuple[str, float]:
    """The site whose budget makes its videos wait longest, and how many hours."""
    sites: Mapping[str, int] = Counter(video.site for video in waiting if video.site)
    now_s = time.time()
    hours = {site: budgets.eta_s({site: count}, now_s) / _HOUR_S for site, count in sites.items()}
    site = max(hours, key=hours.__getitem__, default="")
    return site, hours.get(site, 0.0)
