"""Markdown in which a stranger's text stays text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MAX_CHARS = 200
_SPECIAL = re.compile(r"[!-+./:-@\[-`{-~]")


def text(value: object) -> str:
    """Any text as Markdown that shows it: on one line, no longer than 200 characters, and inert.

    Each ASCII punctuation character but `,` and `-` becomes a numeric reference, which CommonMark (section
    2.5) has stand for the character alone: it opens no link, code, table cell or tag. What cannot be printed
    is left out.
    """
    shown = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    if len(shown) > _MAX_CHARS:
        shown = shown[: _MAX_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", shown)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table; heads are ours, the cells may be anyone's."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        cells = (cell if isinstance(cell, Safe) else text(cell) for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


class Safe(str):
    """A cell that is our own Markdown."""

    __slots__ = ()
