"""The stages of a build, one after the other: discover, ingest, curate, publish.

Each stage reads what the one before left in the dataset, so each can be run alone, interrupted at
any instruction and repeated; what is done is not done again.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import pyarrow.compute as pc

from pipeline import candidates
from pipeline.config import BuildConfig
from pipeline.curate import KEPT, Selection
from pipeline.curate import curate as select
from pipeline.engine import Died, Done, Engine, Expired, Lost, Outcome, Part, Raised, Refused
from pipeline.ingest import Ended, MeasureUnit, Unit, measure_pack, score_name
from pipeline.ingest import ingest as ingest_unit
from pipeline.ledger import Books, State, begin_attempt, end_attempt, read_books
from pipeline.outcomes import INGESTED, PENDING, TRANSIENT_FAILURES
from pipeline.publish import publish as publish_selection
from shards.catalog import write_curated
from shards.commits import Commit
from shards.errors import SettingError, UserError
from shards.manifest import Version
from shards.store import Store

CONFIG_NAME = "config.json"
"""The config that the dataset was last worked on with."""

# What took its process with it is tried so often in one run.
_MAX_TRIES = 3

_MIN_DEADLINE_S = 1800.0
_DEADLINE_PER_SOURCE_S = 6.0
_UNKNOWN_DURATION_S = 12 * 3600.0
_MAX_DURATION_S = 24 * 3600.0


class Progress(Protocol):
    """Is told what a build is doing."""

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        """`done` of `total` units of a stage have ended, `what` the last of them."""

    def note(self, message: str) -> None:
        """Something a person should know, in one line."""


@dataclass(frozen=True)
class Funnel:
    """How many of what was found became something that is published."""

    found: int
    title_accepted: int
    ingested: int
    clips: int
    kept: int
    shards: int


@dataclass(frozen=True)
class Built:
    """What a build came to.

    Attributes:
        problems: parts of sources that could not be read, one line each.
    """

    funnel: Funnel
    books: Books
    version: Version
    problems: tuple[str, ...]


def build(config: BuildConfig, engine: Engine, progress: Progress) -> Built:
    """Do all stages.

    Raises:
        UserError: a source leads nowhere, a rule is wrong, or nothing is left to publish.
    """
    problems = discover(config, progress)
    ingest(config, engine, progress)
    selection = curate(config)
    version = publish(config, selection, engine, progress)
    books = books_of(config)
    return Built(funnel(books, selection, version), books, version, problems)


def discover(config: BuildConfig, progress: Progress) -> tuple[str, ...]:
    """Look for videos in every source; returns the problems met, one line each."""
    store = _open(config)
    problems: list[str] = []

    def problem(line: str) -> None:
        problems.append(line)
        progress.note(line)

    for number, source in enumerate(config.sources):
        try:
            new = candidates.discover(store, source, problem)
        except SettingError as error:
            raise SettingError(f"sources.{number}.{error.key}", error.message) from None
        progress.step("discover", number + 1, len(config.sources), f"{source.kind}: {new} new")
    return tuple(problems)


def ingest(config: BuildConfig, engine: Engine, progress: Progress) -> Books:
    """Ingest every video that is pending or failed for a reason that may have passed.

    Raises:
        UserError: no video is known.
    """
    store = _open(config)
    owners = candidates.source_of(store, config.sources)
    books = _known(config)
    waiting = {PENDING} | {f"failed:{failure}" for failure in TRANSIENT_FAILURES}
    units = [
        Unit(
            store=config.dataset,
            video=books.videos[video_id],
            source=owners[video_id],
            frame=config.frame,
            scorers=config.scorers,
            settings=config.settings_hash,
        )
        for video_id, state in books.states.items()
        if state.state in waiting
    ]
    _run_units(store, units, engine, progress)
    _measure_missing(store, config, engine, progress)
    return books_of(config)


def curate(config: BuildConfig) -> Selection:
    """Decide on every measured clip, and write the catalog.

    Raises:
        UserError: no video is known, or a rule is wrong.
    """
    store = _open(config)
    books = _known(config)
    commits = _ingested(books)
    selection = select(store, commits, config)
    measured = sum(commit.clips for commit in commits)
    if len(selection.clips) != measured:
        raise RuntimeError(f"{measured} clips are committed, and {len(selection.clips)} lie in their packs")
    write_curated(store, books.table(), selection.clips)
    return selection


def publish(config: BuildConfig, selection: Selection, engine: Engine, progress: Progress) -> Version:
    """Write the selected clips as shards, and a version if they differ from the newest one."""
    store = _open(config)

    def on_shard(done: int, total: int) -> None:
        progress.step("publish", done, total, f"shard {done}")

    return publish_selection(store, selection, books_of(config).table(), config.recipe, engine, on_shard)


def books_of(config: BuildConfig) -> Books:
    """The state of every video that was discovered for this config."""
    store = Store(config.dataset)
    found = candidates.read_candidates(store, config.sources)
    return read_books(store, found, config.titles, config.settings_hash)


def funnel(books: Books, selection: Selection, version: Version) -> Funnel:
    """Count what is left after each stage."""
    ingested = books.counts().get(INGESTED, 0)
    rejected_by_title = sum(n for state, n in books.counts().items() if state.startswith("rejected:title_"))
    return Funnel(
        found=len(books.videos),
        title_accepted=len(books.videos) - rejected_by_title,
        ingested=ingested,
        clips=len(selection.clips),
        kept=pc.sum(pc.equal(selection.clips["decision"], KEPT)).as_py() or 0,
        shards=len(version.shards),
    )


def read_config(store: Store) -> BuildConfig:
    """The config that a dataset was last worked on with.

    Raises:
        UserError: no build ever began there.
    """
    if not store.exists(CONFIG_NAME):
        raise UserError(f"dataset {store.url}: there is none; `genieset build CONFIG` makes one")
    try:
        return BuildConfig.model_validate(json.loads(store.read(CONFIG_NAME)) | {"dataset": store.url})
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{store.path(CONFIG_NAME)}: cannot be read ({reason}); `genieset discover CONFIG` writes it anew"
        ) from None


def _known(config: BuildConfig) -> Books:
    books = books_of(config)
    if not books.videos:
        raise UserError(
            f"dataset {config.dataset}: no video is known for these sources; "
            "`genieset discover` looks for some"
        )
    return books


def _open(config: BuildConfig) -> Store:
    """The dataset, which remembers what config it is worked on with."""
    store = Store(config.dataset)
    body = config.model_dump_json(indent=1).encode() + b"\n"
    if not store.exists(CONFIG_NAME) or store.read(CONFIG_NAME) != body:
        store.put(CONFIG_NAME, body)
    return store


def _run_units(store: Store, units: list[Unit], engine: Engine, progress: Progress) -> None:
    total, ended = len(units), 0
    failures: Counter[str] = Counter()
    attempts: dict[str, int] = {}

    def begin(unit: Unit) -> Unit:
        attempts[unit.video.video_id] = begin_attempt(store, unit.video.video_id, unit.settings)
        return unit

    while units:
        again: list[Unit] = []
        for unit, outcome in engine.run(ingest_unit, map(begin, units), lambda unit: Part(_deadline_s(unit))):
            video_id = unit.video.video_id
            state, log = _verdict(outcome)
            if state.state.removeprefix("failed:") in TRANSIENT_FAILURES:
                end_attempt(store, video_id, unit.settings, attempts[video_id], state, log)
                failures[video_id] += 1
                # A site that says no, or is slow, is not asked again in the same breath.
                if isinstance(outcome, Died) and failures[video_id] < _MAX_TRIES:
                    again.append(unit)
                    continue
                progress.note(f"{video_id}: {state.state}: {state.detail}")
            ended += 1
            progress.step("ingest", ended, total, f"{video_id}: {state.state}")
        units = again


def _verdict(outcome: Outcome[Ended]) -> tuple[State, str | None]:
    match outcome:
        case Done(ended):
            return State(ended.state, ended.detail), None
        case Refused(message):
            raise UserError(message)
        case Raised(error, trace):
            return State("failed:bug", error), trace
        case Died(exit_code, log):
            return State("failed:crashed", f"the worker died (exit code {exit_code})"), log
        case Expired(deadline_s):
            return State("failed:timeout", f"took longer than {deadline_s:.0f} s"), None
        case Lost(cause):
            return State("failed:crashed", f"its node was lost: {cause}"), None


def _measure_missing(store: Store, config: BuildConfig, engine: Engine, progress: Progress) -> None:
    """Measure packs that a scorer has not seen: it is new, or it changed."""
    units = []
    for commit in _ingested(books_of(config)):
        assert commit.pack
        missing = [s for s in config.scorers if not store.exists(score_name(s, commit.pack))]
        if missing:
            units.append(MeasureUnit(config.dataset, commit.pack, tuple(missing)))
    for number, (unit, outcome) in enumerate(
        engine.run(measure_pack, units, lambda _: Part(_MIN_DEADLINE_S)), 1
    ):
        if isinstance(outcome, Refused):
            raise UserError(outcome.message)
        if not isinstance(outcome, Done):
            raise RuntimeError(f"measuring {unit.pack} with {', '.join(unit.scorers)}: {outcome}")
        progress.step("measure", number, len(units), unit.pack)


def _ingested(books: Books) -> list[Commit]:
    return [commit for commit in books.commits.values() if commit.state == INGESTED]


def _deadline_s(unit: Unit) -> float:
    told_s = min(unit.video.duration_s or _UNKNOWN_DURATION_S, _MAX_DURATION_S)
    return max(_MIN_DEADLINE_S, _DEADLINE_PER_SOURCE_S * told_s)
