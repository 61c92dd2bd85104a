"""What a command shows: progress on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

_PLAIN_PROGRESS_EVERY_S = 5.0
_CELL_CHARS = 80
_PIPE_COLUMNS = 10_000


class _PlainProgress:
    """Lines for a log: every few seconds, and when a stage ends."""

    def __init__(self) -> None:
        self._last_s = 0.0

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        now_s = time.monotonic()
        if done == total or now_s - self._last_s >= _PLAIN_PROGRESS_EVERY_S:
            self._last_s = now_s
            print(f"{stage}: {done}/{total} ({printable(what)})", file=sys.stderr, flush=True)

    def note(self, message: str) -> None:
        print(f"note: {printable(message)}", file=sys.stderr, flush=True)


class _BarProgress:
    """A bar for each stage, for a person at a terminal."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, what="")
        self._bars.update(self._tasks[stage], completed=done, total=total, what=printable(what))

    def note(self, message: str) -> None:
        from rich.text import Text

        self._bars.console.print(Text(f"note: {printable(message)}", style="yellow"))


@contextmanager
def progress() -> Iterator[_PlainProgress | _BarProgress]:
    """A bar in a terminal, plain lines elsewhere; see `pipeline.build.Progress`."""
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


def print_counts(title: str, counts: Mapping[str, int]) -> None:
    """A table of names and numbers."""
    print_rows(title, {name: f"{count:,}" for name, count in counts.items()}, right=True)


def print_rows(title: str, rows: Mapping[str, object], *, right: bool = False) -> None:
    """A table of names and values; `right` aligns the values as numbers are."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right" if right else "left", overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(printable(name)), Text(printable(str(value))))
    Console().print(table)


def print_columns(title: str, heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    """A table of names and several numbers each."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    table.add_column()
    for head in heads:
        table.add_column(head, justify="right", overflow="fold")
    for name, values in rows.items():
        table.add_row(*(Text(printable(value)) for value in (name, *values)))
    Console(width=_width()).print(table)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table of whatever values there are, each on one line and cut where it is long; null is left blank."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(Text(_cell(head)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console(width=_width()).print(table)


def _width() -> int | None:
    """None is the terminal's own. A pipe has none: what reads it wants each row on a line."""
    return None if sys.stdout.isatty() else _PIPE_COLUMNS


def _cell(value: object) -> str:
    text = printable("" if value is None else str(value)).replace("\n", " ")
    return text if len(text) <= _CELL_CHARS else text[: _CELL_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def print_json(value: object) -> None:
    """The result for programs: one JSON object."""
    print(json.dumps(value, indent=1))


def printable(text: str) -> str:
    """A stranger's text without what would drive the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def say(line: str) -> None:
    """The one-line summary that ends every command."""
    print(line)


def figure(value: float | None, low: float | None, high: float | None) -> str:
    """A measured value with its interval, as far as they are known."""
    if value is None:
        return "-"
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
