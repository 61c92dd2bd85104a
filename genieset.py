"""The command `genieset`. Every sub-command loads what it needs when it is called."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shards.errors import SettingError, UserError

if TYPE_CHECKING:
    from pipeline.build import Funnel
    from pipeline.config import BuildConfig
    from pipeline.ledger import Books
    from pipeline.status import Status

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Make world-model datasets from video, and train on them.",
)
train_app = typer.Typer(no_args_is_help=True, help="Train a model of Genie on a published dataset.")
app.add_typer(train_app, name="train")

Config = Annotated[Path, typer.Argument(help="YAML file; configs/ has some to start from.")]
Dataset = Annotated[str, typer.Argument(help="The dataset's folder.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the config, e.g. curate.seed=1."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]

_PLAIN_PROGRESS_EVERY_S = 5.0
_INTERRUPTED = 128 + signal.SIGINT


@app.command()
def build(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Build a dataset: discover, ingest, curate and publish. Safe to interrupt and to repeat."""
    from pipeline.build import build as build_dataset
    from pipeline.engine import OneChild

    with _settings(config, overrides) as settings, _progress() as progress:
        built = build_dataset(settings, OneChild(), progress)
    if as_json:
        _print_json(
            {
                "funnel": asdict(built.funnel),
                "videos": built.books.counts(),
                "version": built.version.number,
                "problems": built.problems,
            }
        )
    else:
        _print_funnel(built.funnel, built.books)
        _say(
            f"version {built.version.number} of {settings.dataset}: "
            f"{sum(built.version.splits.values())} clips in {len(built.version.shards)} shards"
        )
    _exit_unless_done(built.books, built.problems)


@app.command()
def discover(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Look for videos in every source, and apply the title rules."""
    from pipeline import build as stages

    with _settings(config, overrides) as settings, _progress() as progress:
        problems = stages.discover(settings, progress)
    books = stages.books_of(settings)
    if as_json:
        _print_json({"videos": books.counts(), "problems": problems})
    else:
        _print_counts("videos", books.counts())
        _say(f"{len(books.videos)} videos are known to {settings.dataset}")
    if problems:
        raise typer.Exit(1)


@app.command()
def ingest(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Download, cut and measure every discovered video that has not been yet."""
    from pipeline import build as stages
    from pipeline.engine import OneChild

    with _settings(config, overrides) as settings, _progress() as progress:
        books = stages.ingest(settings, OneChild(), progress)
    if as_json:
        _print_json({"videos": books.counts()})
    else:
        _print_counts("videos", books.counts())
        _say(f"{sum(commit.clips for commit in books.commits.values())} clips are cut and measured")
    _exit_unless_done(books)


@app.command()
def curate(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Apply the rules to every measured clip; nothing is measured again."""
    from pipeline import build as stages
    from pipeline.status import count_decisions

    with _settings(config, overrides) as settings:
        decisions = count_decisions(stages.curate(settings).clips)
    if as_json:
        _print_json({"clips": decisions})
    else:
        _print_counts("clips", decisions)
        _say(f"{decisions.get('kept', 0)} of {sum(decisions.values())} clips are kept")


@app.command()
def publish(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Write the kept clips as shards, and a version that names them."""
    from pipeline import build as stages
    from pipeline.engine import OneChild

    with _settings(config, overrides) as settings, _progress() as progress:
        version = stages.publish(settings, stages.curate(settings), OneChild(), progress)
    if as_json:
        _print_json({"version": version.number, "splits": version.splits, "shards": len(version.shards)})
    else:
        _print_counts("splits", version.splits)
        _say(f"version {version.number} of {settings.dataset}: {len(version.shards)} shards")


@app.command()
def status(dataset: Dataset, as_json: Json = False) -> None:
    """The books: how every video and every clip ended."""
    from pipeline.status import read_status
    from shards.store import Store

    found = read_status(Store(dataset))
    if as_json:
        _print_json(asdict(found))
    else:
        _print_counts("videos", found.videos)
        _print_counts("clips", found.clips)
        _say(_status_line(found))
    if not found.balanced:
        raise typer.Exit(1)


@app.command()
def verify(
    dataset: Dataset,
    sample: Annotated[int | None, typer.Option(min=1, help="Decode only so many clips.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="The version; the newest by default.")] = None,
    as_json: Json = False,
) -> None:
    """Hash, count and decode everything a version says it holds."""
    from shards.manifest import read_version
    from shards.store import Store
    from shards.verify import verify as verify_version

    store = Store(dataset)
    with _progress() as progress:
        found = verify_version(
            store,
            read_version(store, version),
            sample,
            lambda done, total: progress.step("verify", done, total, f"shard {done}"),
        )
    if as_json:
        _print_json(asdict(found))
    else:
        for fault in found.faults:
            print(_printable(f"{fault.where}: {fault.what}"))
        _say(
            f"version {found.version}: {found.shards} shards, {found.samples} clips, "
            f"{found.decoded} decoded, " + (f"{len(found.faults)} faults" if found.faults else "no fault")
        )
    if found.faults:
        raise typer.Exit(1)


@app.command()
def show(
    dataset: Dataset,
    key: Annotated[str, typer.Argument(help="The clip's key, <video_id>_<first frame>.")],
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of the clip to this PNG.")] = None,
    as_json: Json = False,
) -> None:
    """One clip: where it is from, its scores, and why it was kept or dropped."""
    from pipeline.show import show as show_clip
    from shards.store import Store

    shown = show_clip(Store(dataset), key)
    if sheet:
        try:
            sheet.write_bytes(shown.sheet)
        except OSError as error:
            raise UserError(f"--sheet {sheet}: cannot be written ({error.strerror})") from None
    if as_json:
        _print_json({"video": shown.video, "clip": shown.clip, "scores": shown.scores})
        return
    _print_rows("video", {name: value for name, value in shown.video.items() if value not in (None, [])})
    _print_rows("clip", {name: value for name, value in shown.clip.items() if value is not None})
    _print_rows("scores", shown.scores)
    _say(f"{key}: {shown.clip['decision']}" + (f"; contact sheet in {sheet}" if sheet else ""))


@train_app.command("tokenizer")
def train_tokenizer(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Train a video tokenizer; run again, it goes on from its last checkpoint."""
    from shards.settings import load_settings
    from trainer_bridge.config import TrainConfig
    from trainer_bridge.train import train

    settings = load_settings(TrainConfig, config, overrides or [])
    with _progress() as progress:
        result = train(
            settings,
            lambda step: progress.step("train", step["step"] + 1, settings.steps, f"loss {step['loss']:.4f}"),
        )
    if as_json:
        _print_json(asdict(result) | {"run": str(result.run)})
    else:
        _say(
            f"{result.run}: {result.steps} steps, "
            f"loss {result.first_loss:.4f} at the start, {result.last_loss:.4f} at the end"
        )


def main() -> None:
    """Run the command; what a user can mend is one line, what is a bug keeps its trace."""
    try:
        app()
    except UserError as error:
        print(f"error: {_printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        # Typer turns Ctrl-C into an exit without a word.
        if end.code == _INTERRUPTED:
            print("interrupted; the same command goes on from here", file=sys.stderr)
        raise


class _PlainProgress:
    """Lines for a log: every few seconds, and when a stage ends."""

    def __init__(self) -> None:
        self._last_s = 0.0

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        now_s = time.monotonic()
        if done == total or now_s - self._last_s >= _PLAIN_PROGRESS_EVERY_S:
            self._last_s = now_s
            print(f"{stage}: {done}/{total} ({_printable(what)})", file=sys.stderr, flush=True)

    def note(self, message: str) -> None:
        print(f"note: {_printable(message)}", file=sys.stderr, flush=True)


class _BarProgress:
    """A bar for each stage, for a person at a terminal."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, what="")
        self._bars.update(self._tasks[stage], completed=done, total=total, what=_printable(what))

    def note(self, message: str) -> None:
        from rich.text import Text

        self._bars.console.print(Text(f"note: {_printable(message)}", style="yellow"))


@contextmanager
def _settings(config: Path, overrides: list[str] | None) -> Iterator[BuildConfig]:
    """The build's config; what turns out to be wrong with a key of it later names the file too."""
    from pipeline.config import load_config

    try:
        yield load_config(config, overrides or [])
    except SettingError as error:
        raise UserError(f"{config}: {error}") from None


@contextmanager
def _progress() -> Iterator[_PlainProgress | _BarProgress]:
    if not sys.stderr.isatty():
        yield _PlainProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        # What a video is called is a stranger's text: never markup.
        TextColumn("{task.fields[what]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _BarProgress(bars)


def _print_funnel(funnel: Funnel, books: Books) -> None:
    names = ("found", "title-accepted", "ingested", "clips", "kept", "shards")
    _print_counts("funnel", dict(zip(names, asdict(funnel).values(), strict=True)))
    _print_counts("videos", books.counts())


def _print_counts(title: str, counts: Mapping[str, int]) -> None:
    _print_rows(title, {name: f"{count:,}" for name, count in counts.items()}, right=True)


def _print_rows(title: str, rows: Mapping[str, object], *, right: bool = False) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right" if right else "left", overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(_printable(name)), Text(_printable(str(value))))
    Console().print(table)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1))


def _printable(text: str) -> str:
    """A stranger's text without what would drive the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _say(line: str) -> None:
    """The one-line summary that ends every command."""
    print(line)


def _status_line(found: Status) -> str:
    books = "the books balance" if found.balanced else "THE BOOKS DO NOT BALANCE"
    return f"{found.shards} shards, {found.bytes:,} bytes; {books}"


def _exit_unless_done(books: Books, problems: tuple[str, ...] = ()) -> None:
    from pipeline.outcomes import PENDING

    lines = [
        f"{len(videos)} videos {what}: {', '.join(videos[:5])}"
        for state, what in ((PENDING, "are unaccounted for"), ("failed:bug", "met a bug of Genieset"))
        if (videos := books.in_state(state))
    ]
    if problems:
        lines.append(f"{len(problems)} parts of sources could not be read")
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    if lines:
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
