"""The stages of a build, one after the other: discover, ingest, curate, publish.

Each stage reads what the one before left in the dataset, so each can be run alone, interrupted at
any instruction and repeated; what is done is not done again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow.compute as pc

from pipeline import candidates
from pipeline.attempts import attempt_journal
from pipeline.budget import Budgets, settings_of
from pipeline.classifier import check_classifier
from pipeline.config import BuildConfig
from pipeline.curate import KEPT, Selection
from pipeline.curate import curate as select
from pipeline.engine import Engine
from pipeline.ingest import Unit
from pipeline.ledger import Books, Waiting, read_books
from pipeline.measure import measure_missing
from pipeline.outcomes import INGESTED, PENDING
from pipeline.progress import Progress
from pipeline.publish import publish as publish_selection
from pipeline.queue import Politeness
from pipeline.rule_check import check_rules
from pipeline.runner import Run
from pipeline.sources.base import Source
from shards.catalog import write_curated
from shards.commits import commit_journal
from shards.errors import SettingError, UserError
from shards.manifest import Version
from shards.records import Video
from shards.runs import announce
from shards.store import Store
from shards.tombstones import forgotten_ids

CONFIG_NAME = "config.json"
"""The config that the dataset was last worked on with."""


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


def build(config: BuildConfig, engine: Engine, progress: Progress, *, retry: Collection[str] = ()) -> Built:
    """Do all stages.

    Args:
        retry: classes of failure to be tried again whatever the reason was.

    Raises:
        UserError: a source leads nowhere, a rule is wrong, or nothing is left to publish.
    """
    check_rules(Store(config.dataset), config)
    problems = discover(config, progress)
    ingest(config, engine, progress, retry=retry)
    selection = curate(config)
    version = publish(config, selection, engine, progress)
    books = books_of(config)
    return Built(funnel(books, selection, version), books, version, problems)


def discover(config: BuildConfig, progress: Progress, *, again: bool = True) -> tuple[str, ...]:
    """Look for videos in every source; returns the problems met, one line each.

    Args:
        again: whether a source that has found videos already is asked once more.

    Raises:
        UserError: a source leads nowhere, or garbage is being collected, or a video forgotten.
    """
    store = _open(config)
    problems: list[str] = []

    def problem(line: str) -> None:
        problems.append(line)
        progress.note(line)

    budgets = site_budgets(config)

    def pause_s(site: str) -> float:
        left_alone = budgets.left_alone_s(site, time.time()) > 0
        return math.inf if left_alone else settings_of(config.sites, site).pause_s

    with announce(store, "build"):
        for number, source in enumerate(config.sources):
            if not again and candidates.knows(store, source):
                continue
            with _of_source(number):
                source.check()
                new = candidates.discover(store, source, problem, pause_s)
            progress.step("discover", number + 1, len(config.sources), f"{source.kind}: {new} new")
    return tuple(problems)


def ingest(
    config: BuildConfig,
    engine: Engine,
    progress: Progress,
    *,
    retry: Collection[str] = (),
    only: Collection[str] = (),
) -> Books:
    """Ingest every video that is pending or failed for a reason that may have passed.

    Args:
        retry: classes of failure to be tried again whatever the reason was.
        only: ids of videos; the others wait.

    Raises:
        UserError: no video is known, the classifier is not there, or garbage is being collected.
    """
    store = _open(config)
    for number, source in enumerate(config.sources):
        with _of_source(number):
            source.check()
    check_classifier(config)
    with announce(store, "build"):
        # Read only now: what is forgotten later waits for the end of this.
        books = _known(config)
        for video_id in only:
            _known_video(books, config, video_id)
        ingest_waiting(config, books.waiting(retry, only), engine, site_budgets(config), progress)
        measure_missing(store, books_of(config).ingested(), config.measured, engine, progress)
    return books_of(config)


def ingest_waiting(
    config: BuildConfig, waiting: Waiting, engine: Engine, budgets: Politeness, progress: Progress
) -> None:
    """Ingest these videos, and no others."""
    store = _open(config)
    commit_journal(store).compact()
    make = UnitMaker(config, candidates.source_of(store, config.sources))
    Run(
        store, config.settings_hash, waiting, make, engine=engine, budgets=budgets, progress=progress
    ).bring_to_an_end()
    commit_journal(store).compact()
    attempt_journal(store).compact()


def site_budgets(config: BuildConfig) -> Budgets:
    """The budgets of a run; its leases lie beside the dataset, where all runs share them."""
    return Budgets(config.dataset, config.sites)


def curate(config: BuildConfig, *, explain: bool = False) -> Selection:
    """Decide on every measured clip, and write the catalog; `explain` tells each rule's effect too.

    Raises:
        UserError: no video is known, none was cut with these settings, a rule is wrong, or garbage is being
            collected.
    """
    store = Store(config.dataset)
    if not store.exists(CONFIG_NAME):
        _known(config)  # where there is no dataset, none is begun
    with announce(store, "build"):
        books = _known(config)
        packs = books.ingested()
        if not packs and PENDING in books.counts():
            raise UserError(
                f"dataset {config.dataset}: no video was cut with these settings; `genieset ingest` cuts "
                "them (wide scorers look at frames that are cut with the clips)"
            )
        store = _open(config)
        catalog = books.catalog()
        selection = select(store, [entry.pack for entry in packs], config, catalog, explain=explain)
        measured = sum(entry.clips for entry in packs)
        if len(selection.clips) != measured:
            raise RuntimeError(
                f"{measured} clips are committed, and {len(selection.clips)} lie in their packs"
            )
        write_curated(store, catalog, selection.clips)
    return selection


def publish(
    config: BuildConfig, selection: Selection, engine: Engine, progress: Progress, *, anew: bool = False
) -> Version:
    """Write the selected clips as shards, and a version if they differ from the newest one.

    Args:
        anew: lay all of them out anew, so that small shards are gathered into full ones.

    Raises:
        UserError: no clip is kept, or garbage is being collected.
    """
    store = _open(config)
    with announce(store, "build") as run:

        def on_shard(done: int, total: int) -> None:
            progress.step("publish", done, total, f"shard {done}")

        forgotten = forgotten_ids(store)
        if forgotten and not forgotten.isdisjoint(selection.clips["video_id"].unique().to_pylist()):
            raise UserError(
                f"dataset {config.dataset}: a video was forgotten since the clips were decided on; "
                "run the same command again"
            )
        videos = books_of(config).catalog()
        version = publish_selection(
            store, selection, videos, config.recipe, engine, on_shard, run.check, anew=anew
        )
    kept, published = _kept(selection), sum(version.splits.values())
    if published != kept:
        raise RuntimeError(f"{kept} clips are kept, and version {version.number} holds {published}")
    return version


def books_of(config: BuildConfig, store: Store | None = None) -> Books:
    """The state of every video that was discovered for this config."""
    store = store or Store(config.dataset)
    found = candidates.read_table(store, config.sources)
    return read_books(store, found, config.titles, config.settings_hash, config.opt_out)


def funnel(books: Books, selection: Selection, version: Version) -> Funnel:
    """Count what is left after each stage."""
    ingested = books.counts().get(INGESTED, 0)
    rejected_by_title = sum(n for state, n in books.counts().items() if state.startswith("rejected:title_"))
    return Funnel(
        found=len(books.rows) + books.forgotten,
        title_accepted=len(books.rows) - rejected_by_title,
        ingested=ingested,
        clips=len(selection.clips),
        kept=_kept(selection),
        shards=len(version.shards),
    )


def _kept(selection: Selection) -> int:
    return pc.sum(pc.equal(selection.clips["decision"], KEPT)).as_py() or 0


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
            f"{store.where(CONFIG_NAME)}: cannot be read ({reason}); "
            "`genieset discover CONFIG` writes it anew"
        ) from None


def _known(config: BuildConfig) -> Books:
    books = books_of(config)
    if not len(books.rows):
        raise UserError(
            f"dataset {config.dataset}: no video is known for these sources; "
            "`genieset discover` looks for some"
        )
    return books


@contextmanager
def _of_source(number: int) -> Iterator[None]:
    """What is wrong with a source names it."""
    try:
        yield
    except SettingError as error:
        raise SettingError(f"sources.{number}.{error.key}", error.message) from None


def _known_video(books: Books, config: BuildConfig, video_id: str) -> Video:
    try:
        return books.video(video_id)
    except KeyError:
        raise UserError(
            f"dataset {config.dataset}: there is no video {video_id!r}; "
            "`genieset status` counts those there are"
        ) from None


def _open(config: BuildConfig) -> Store:
    """The dataset, which remembers what config it is worked on with."""
    store = Store(config.dataset)
    body = config.model_dump_json(indent=1).encode() + b"\n"
    if not store.exists(CONFIG_NAME) or store.read(CONFIG_NAME) != body:
        store.put(CONFIG_NAME, body)
    return store


@dataclass(frozen=True)
class UnitMaker:
    """Makes the unit of a video.

    Attributes:
        owners: video id -> the source that brings it.
    """

    config: BuildConfig
    owners: Mapping[str, Source]

    def __call__(self, video: Video) -> Unit:
        """The unit."""
        source = self.owners[video.video_id]
        return Unit(
            store=Store(self.config.dataset).everywhere,
            video=video,
            source=source.for_wide() if self.config.wide else source,
            frame=self.config.unit_frame,
            scorers=self.config.measured,
            settings=self.config.settings_hash,
            remote=source.site(video) is not None,
            opt_out=self.config.opt_out,
        )

    def site(self, video: Video) -> str | None:
        """The site that is asked for it; None if none is."""
        return self.owners[video.video_id].site(video)
