"""Why the title rules say what they say: for each video and each word, from what discovery found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from filters.titles import Explanation, TitleRules
from pipeline.build import books_of
from pipeline.candidates import read_table
from pipeline.config import BuildConfig
from shards.store import Store

LISTS = ("keywords", "actions", "negations")


@dataclass(frozen=True)
class Explained:
    """One video.

    Attributes:
        state: where it stands now, whoever decided that.
    """

    video_id: str
    state: str
    title: str
    keywords: tuple[str, ...]
    actions: tuple[str, ...]
    negations: tuple[str, ...]


@dataclass(frozen=True)
class WordCount:
    """In how many videos a word is, and how these end by the title rules."""

    videos: int
    accepted: int
    rejected: int


@dataclass(frozen=True)
class Titles:
    """What the title rules do to all videos that were found.

    Attributes:
        words: list -> word -> its count; words that are in no video are there too.
        funnel: how many videos are left after each list.
    """

    videos: list[Explained]
    words: dict[str, dict[str, WordCount]]
    funnel: dict[str, int]


def explain_titles(config: BuildConfig) -> Titles:
    """Hold every title that was found against the lists of a config; no site is asked."""
    rules = config.titles or TitleRules()
    table = read_table(Store(config.dataset), config.sources)
    states = dict(
        zip(*(books_of(config).rows[name].to_pylist() for name in ("video_id", "state")), strict=True)
    )
    held = {name: Counter[str]() for name in LISTS}
    accepted = {name: Counter[str]() for name in LISTS}
    rejected = Counter[str | None]()
    videos = []
    columns = (table[name].to_pylist() for name in ("video_id", "title", "description"))
    for video_id, title, description in zip(*columns, strict=True):
        told = rules.explain(title, description)
        rejected[told.verdict.rule] += 1
        for name in LISTS:
            held[name].update(getattr(told, name))
            if told.verdict.rule is None:
                accepted[name].update(getattr(told, name))
        videos.append(_explained(video_id, states[video_id], title, told))
    return Titles(
        videos,
        {
            name: {
                word: WordCount(
                    held[name][word], accepted[name][word], held[name][word] - accepted[name][word]
                )
                for word in getattr(rules, name)
            }
            for name in LISTS
        },
        _funnel(len(videos), rejected),
    )


def _explained(video_id: str, state: str, title: str | None, told: Explanation) -> Explained:
    return Explained(video_id, state, title or "", told.keywords, told.actions, told.negations)


def _funnel(found: int, rejected: Counter[str | None]) -> dict[str, int]:
    without_negation = found - rejected["title_negation"]
    with_keyword = without_negation - rejected["title_keyword"]
    return {
        "found": found,
        "without a negation": without_negation,
        "with a keyword": with_keyword,
        "with an action": with_keyword - rejected["title_action"],
    }
