"""Title rules: what a video's title and description say about it, before a byte is downloaded.

Genie, appendix B: the title holds a keyword of the domain, title or description hold a word of
action ("speedrun", "playthrough"), and the title holds no negating word ("movie", "unboxing").
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from pydantic import Field

from shards.settings import Block


class Verdict(NamedTuple):
    """Which rule a title fails (None: it is accepted), and the word that decided."""

    rule: str | None
    matched: str | None


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
        title, description = _plain(title), _plain(description)
        negation = _first_match(self.negations, title)
        if negation:
            return Verdict("title_negation", negation)
        keyword = _first_match(self.keywords, title)
        if self.keywords and not keyword:
            return Verdict("title_keyword", None)
        if self.actions and not _first_match(self.actions, f"{title}\n{description}"):
            return Verdict("title_action", None)
        return Verdict(None, keyword)


def _plain(text: str | None) -> str:
    return unicodedata.normalize("NFKC", text or "").replace("\u2019", "'").casefold()


def _first_match(words: tuple[str, ...], text: str) -> str | None:
    for word in words:
        if re.search(rf"(?<!\w){re.escape(_plain(word))}(?!\w)", text):
            return word
    return None
