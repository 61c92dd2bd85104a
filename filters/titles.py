"""Title rules: what a video's title and description say about it, before a byte is downloaded.

Genie, appendix B: the title holds a keyword of the domain, title or description hold a word of
action ("speedrun", "playthrough"), and the title holds no negating word ("movie", "unboxing").
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from pydantic import Field

from shards.settings import Block

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

    keywords: tuple[str, ...] = Field(default=(), description="one of these in the title")
    actions: tuple[str, ...] = Field(default=(), description="one of these in title or description")
    negations: tuple[str, ...] = Field(default=(), description="none of these in the title")

    def verdict(self, title: str | None, description: str | None) -> Verdict:
        """The first rule the video fails; negations are asked first, for they name the reason best."""
        title = _plain(title)
        negation = _first_match(self.negations, title)
        if negation:
            return Verdict("title_negation", negation)
        keyword = _first_match(self.keywords, title)
        if self.keywords and not keyword:
            return Verdict("title_keyword", None)
        if (
            self.actions
            and not _first_match(self.actions, title)
            and not _first_match(self.actions, _plain(description))
        ):
            return Verdict("title_action", None)
        return Verdict(None, keyword)

    def explain(self, title: str | None, description: str | None) -> Explanation:
        """The verdict with all that speaks for and against the video; slower than the verdict alone."""
        plain = _plain(title)
        both = f"{plain}\n{_plain(description)}"
        return Explanation(
            self.verdict(title, description),
            _all_matches(self.keywords, plain),
            _all_matches(self.actions, both),
            _all_matches(self.negations, plain),
        )


def _plain(text: str | None) -> str:
    if not text:
        return ""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).translate(_PUNCTUATION).casefold()


def _first_match(words: tuple[str, ...], text: str) -> str | None:
    """The word of the list that comes first in the text, the longest where several begin there."""
    if not words or not text:
        return None
    pattern, spelled = _compiled(words)
    found = pattern.search(text)
    return spelled[found[0]] if found else None


def _all_matches(words: tuple[str, ...], text: str) -> tuple[str, ...]:
    return tuple(word for word in words if _first_match((word,), text))


@lru_cache(maxsize=4096)
def _compiled(words: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    """One pattern for all words, and each word as it is spelled in the list.

    The look-behind comes first, so that the words are only tried where one may begin.
    """
    spelled = {_plain(word): word for word in reversed(words) if word}
    longest_first = sorted(spelled, key=len, reverse=True)
    pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?!\w)"
    return re.compile(pattern), spelled
