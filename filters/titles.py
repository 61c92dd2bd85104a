"""Title rules: what a video's title and description say about it, before a byte is downloaded.

Genie, appendix B: the title holds a keyword of the domain, title or description hold a word of
action ("speedrun", "playthrough"), and the title holds no negating word ("movie", "unboxing").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, NamedTuple

from pydantic import Field, StringConstraints

from shards.settings import Block

Words = tuple[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)], ...]
"""Words and phrases. White space around one says nothing, and one of nothing else would be in any text."""

_PUNCTUATION = str.maketrans({"\u2019": "'", "\u2010": "-", "\u2011": "-"})


class Verdict(NamedTuple):
    """Which rule a title fails (None: it is accepted), and the word that decided."""

    rule: str | None
    matched: str | None


class Explanation(NamedTuple):
    """A verdict, and every word of each list that is there, in the order of the list."""

    verdict: Verdict
    keywords: tuple[str, ...]
    actions: tuple[str, ...]
    negations: tuple[str, ...]


class TitleRules(Block):
    """Lists of words and phrases; each matches whole words, in any case.

    A title passes when it holds a keyword and no negation, and title or description hold an
    action. An empty list asks for nothing.
    """

    keywords: Words = Field(default=(), description="one of these in the title")
    actions: Words = Field(default=(), description="one of these in title or description")
    negations: Words = Field(default=(), description="none of these in the title")

    def verdict(self, title: str | None, description: str | None) -> Verdict:
        """The first rule the video fails; negations are asked first, for they name the reason best."""
        title = _plain(title)
        if negation := self._negations.first(title):
            return Verdict("title_negation", negation)
        keyword = self._keywords.first(title)
        if self.keywords and not keyword:
            return Verdict("title_keyword", None)
        # Most titles name the action, so that most descriptions, which are long, need not be read.
        if self.actions and not self._actions.first(title) and not self._actions.first(_plain(description)):
            return Verdict("title_action", None)
        return Verdict(None, keyword)

    def explain(self, title: str | None, description: str | None) -> Explanation:
        """The verdict with all that speaks for and against the video; slower than the verdict alone."""
        plain = _plain(title)
        return Explanation(
            self.verdict(title, description),
            self._keywords.all(plain),
            self._actions.all(f"{plain}\n{_plain(description)}"),
            self._negations.all(plain),
        )

    def keyword(self, title: str | None) -> str | None:
        """The keyword that comes first in the title; None if none is there."""
        return self._keywords.first(_plain(title))

    @cached_property
    def _keywords(self) -> _WordList:
        return _WordList(self.keywords)

    @cached_property
    def _actions(self) -> _WordList:
        return _WordList(self.actions)

    @cached_property
    def _negations(self) -> _WordList:
        return _WordList(self.negations)


class _WordList:
    """A list of words as one pattern: a text is read once, however many words there are."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._spelled: dict[str, str] = {}
        for word in words:
            self._spelled.setdefault(_plain(word), word)
        self._pattern = _whole_words(self._spelled) if words else None

    def first(self, plain: str) -> str | None:
        """The word that comes first in the text, the longest where several begin there."""
        found = self._pattern.search(plain) if self._pattern else None
        return self._spelled[found[0]] if found else None

    def all(self, plain: str) -> tuple[str, ...]:
        """Every word that is in the text, in the order of the list; they may overlap."""
        if not self.first(plain):
            return ()
        return tuple(
            word for key, word in self._spelled.items() if key in plain and _whole_words([key]).search(plain)
        )


def _plain(text: str | None) -> str:
    if not text:
        return ""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).translate(_PUNCTUATION).casefold()


def _whole_words(plain: Iterable[str]) -> re.Pattern[str]:
    """A pattern for words, which are only tried where one may begin.

    They are grouped by their first character, since each branch is tried at each such place: with a
    hundred words that takes a third of the time.
    """
    by_first: dict[str, list[str]] = {}
    for word in sorted(plain, key=len, reverse=True):
        by_first.setdefault(word[0], []).append(re.escape(word[1:]))
    branches = (f"{re.escape(first)}(?:{'|'.join(rests)})" for first, rests in by_first.items())
    return re.compile(rf"(?<!\w)(?:{'|'.join(branches)})(?!\w)")
