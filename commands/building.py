"""The commands that build a dataset: all stages, or one at a time."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands import screen
from commands.arguments import Config, Jobs, Json, Overrides, RayAddress, Retry
from shards.errors import SettingError, UserError

if TYPE_CHECKING:
    from pipeline.build import Funnel
    from pipeline.config import BuildConfig
    from pipeline.engine import Engine
    from pipeline.explain import Titles
    from pipeline.ledger import Books
    from pipeline.progress import Progress

_TITLE_CHARS = 60
_TITLES_SHOWN = 200


def build(
    config: Config,
    overrides: Overrides = None,
    jobs: Jobs = 1,
    ray_address: RayAddress = None,
    retry: Retry = None,
    as_json: Json = False,
) -> None:
    """Build a dataset: discover, ingest, curate and publish. Safe to interrupt and to repeat."""
    from pipeline.build import build as build_dataset

    with _at_work(config, overrides, jobs, ray_address) as (settings, engine, progress):
        built = build_dataset(settings, engine, progress, retry=_classes(retry))
    if as_json:
        screen.print_json(
            {
                "funnel": asdict(built.funnel),
                "videos": built.books.counts(),
                "version": built.version.number,
                "problems": built.problems,
            }
        )
    else:
        _print_funnel(built.funnel, built.books)
        screen.say(
            f"version {built.version.number} of {settings.dataset}: "
            f"{sum(built.version.splits.values())} clips in {len(built.version.shards)} shards"
        )
    _exit_unless_done(built.books, built.problems)


def discover(
    config: Config,
    overrides: Overrides = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Show which words of the title rules each video holds; sources that have found videos "
            "already are not asked again.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Look for videos in every source, and apply the title rules."""
    from pipeline import build as stages
    from pipeline.explain import explain_titles

    with settings_of(config, overrides) as settings, screen.progress() as progress:
        problems = stages.discover(settings, progress, again=not explain)
    books = stages.books_of(settings)
    titles = explain_titles(settings) if explain else None
    if as_json:
        told = {"titles": asdict(titles)} if titles else {}
        screen.print_json({"videos": books.counts(), "problems": problems, **told})
    else:
        if titles:
            _print_titles(titles)
        screen.print_counts("videos", books.counts())
        screen.say(f"{len(books.rows)} videos are known to {settings.dataset}")
    if problems:
        raise typer.Exit(1)


def ingest(
    config: Config,
    overrides: Overrides = None,
    jobs: Jobs = 1,
    ray_address: RayAddress = None,
    retry: Retry = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="VIDEO_ID", help="This video alone; may be given repeatedly.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Download, cut and measure every discovered video that has not been yet."""
    from pipeline import build as stages

    with _at_work(config, overrides, jobs, ray_address) as (settings, engine, progress):
        books = stages.ingest(settings, engine, progress, retry=_classes(retry), only=only or ())
    if as_json:
        screen.print_json({"videos": books.counts()})
    else:
        screen.print_counts("videos", books.counts())
        screen.say(f"{sum(entry.clips for entry in books.ingested())} clips are cut and measured")
    _exit_unless_done(books, only=only or ())


def curate(
    config: Config,
    overrides: Overrides = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what each rule drops, in its turn and by itself.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Apply the rules to every measured clip; nothing is measured again."""
    from pipeline import build as stages
    from pipeline.curate import count_decisions

    with settings_of(config, overrides) as settings:
        selection = stages.curate(settings, explain=explain)
    decisions = count_decisions(selection.clips)
    if as_json:
        effects = {"rules": [asdict(effect) for effect in selection.effects]} if explain else {}
        screen.print_json({"clips": decisions, **effects})
        return
    if explain:
        screen.print_columns(
            "rules",
            ("reached", "drops", "alone", "kept without it", "predicate"),
            {
                one.rule: (
                    f"{one.reached:,}",
                    f"{one.dropped:,}",
                    "-" if one.alone is None else f"{one.alone:,}",
                    "-" if one.without is None else f"+{one.without:,}",
                    one.predicate,
                )
                for one in selection.effects
            },
        )
    else:
        screen.print_counts("clips", decisions)
    screen.say(f"{decisions.get('kept', 0)} of {sum(decisions.values())} clips are kept")


def publish(
    config: Config,
    overrides: Overrides = None,
    jobs: Jobs = 1,
    ray_address: RayAddress = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Write all shards anew: small ones are gathered into full ones.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the kept clips as shards, and a version that names them."""
    from pipeline import build as stages

    with _at_work(config, overrides, jobs, ray_address) as (settings, engine, progress):
        version = stages.publish(settings, stages.curate(settings), engine, progress, anew=anew)
    if as_json:
        screen.print_json(
            {"version": version.number, "splits": version.splits, "shards": len(version.shards)}
        )
    else:
        screen.print_counts("splits", version.splits)
        screen.say(f"version {version.number} of {settings.dataset}: {len(version.shards)} shards")


def _classes(retry: list[str] | None) -> list[str]:
    from pipeline.outcomes import TRANSIENT_FAILURES

    for failure in retry or ():
        if failure not in TRANSIENT_FAILURES:
            known = ", ".join(sorted(TRANSIENT_FAILURES))
            raise UserError(f"--retry {failure}: cannot be tried again; there are {known}")
    return retry or []


@contextmanager
def _at_work(
    config: Path, overrides: list[str] | None, jobs: int, ray_address: str | None
) -> Iterator[tuple[BuildConfig, Engine, Progress]]:
    """The build's config, the engine that does its work, and who is told of it."""
    from pipeline.engine.choose import open_engine

    with (
        settings_of(config, overrides) as settings,
        open_engine(jobs, ray_address) as engine,
        screen.progress() as progress,
    ):
        yield settings, engine, progress


@contextmanager
def settings_of(config: Path, overrides: list[str] | None) -> Iterator[BuildConfig]:
    """The build's config; what turns out to be wrong with a key of it later names the file too."""
    from pipeline.config import load_config

    try:
        yield load_config(config, overrides or [])
    except SettingError as error:
        raise UserError(f"{config}: {error}") from None


def _print_titles(titles: Titles) -> None:
    """A line for each video, so that many can be searched; then the words, then the funnel."""
    shown = titles.videos[:_TITLES_SHOWN]
    width = max((len(video.state) for video in shown), default=0)
    for video in shown:
        title = " ".join(video.title.split())[:_TITLE_CHARS]
        matched = ((name, getattr(video, name)) for name in titles.words)
        told = "; ".join(f"{name}: {', '.join(words)}" for name, words in matched if words)
        print(screen.printable(f"{video.state:<{width}}  {title:<{_TITLE_CHARS}}  {told or 'no word'}"))
    if more := len(titles.videos) - len(shown):
        screen.say(f"and {more:,} videos more; --json has them all")
    for name, counts in titles.words.items():
        rows = {
            word: [f"{number:,}" for number in (count.videos, count.accepted, count.rejected)]
            for word, count in counts.items()
            if count.videos
        }
        if rows:
            screen.print_columns(name, ("videos", "accepted", "rejected"), rows)
        if unseen := [word for word in counts if word not in rows]:
            screen.say(screen.printable(f"in no video: {', '.join(unseen)}"))
    screen.print_counts("funnel", titles.funnel)


def _print_funnel(funnel: Funnel, books: Books) -> None:
    names = ("found", "title-accepted", "ingested", "clips", "kept", "shards")
    screen.print_counts("funnel", dict(zip(names, asdict(funnel).values(), strict=True)))
    screen.print_counts("videos", books.counts())


def _exit_unless_done(books: Books, problems: tuple[str, ...] = (), only: Collection[str] = ()) -> None:
    from pipeline.outcomes import PENDING

    lines = [
        f"{len(videos)} videos {what}: {', '.join(videos[:5])}"
        for state, what in ((PENDING, "are unaccounted for"), ("failed:bug", "met a bug of Genieset"))
        if (videos := [video for video in books.in_state(state) if not only or video in only])
    ]
    if problems:
        lines.append(f"{len(problems)} parts of sources could not be read")
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    if lines:
        raise typer.Exit(1)
