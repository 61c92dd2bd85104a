from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.titles import TitleRules, _plain

RULES = TitleRules(
    keywords=("platformer", "jump and run"),
    actions=("gameplay", "let's play"),
    negations=("unboxing", "movie"),
)


@pytest.mark.parametrize(
    ("title", "description", "rule"),
    [
        ("Platformer gameplay, part 1", None, None),
        ("PLATFORMER (Gameplay)", "", None),
        ("A jump and run I like", "Let's play it!", None),
        ("A jump and run I like", "Let\u2019s play it!", None),
        ("Platformer gameplay and unboxing", None, "title_negation"),
        ("The movie", "platformer gameplay", "title_negation"),
        ("Cooking", "platformer gameplay", "title_keyword"),
        ("Platformer", "nothing happens", "title_action"),
        ("Platformers are moviemaking gameplay", None, "title_keyword"),  # whole words only
        (None, None, "title_keyword"),
        ("\uff30latformer \uff27ameplay", None, None),  # full-width letters are letters
    ],
)
def test_verdicts(title: str | None, description: str | None, rule: str | None) -> None:
    assert RULES.verdict(title, description).rule == rule


def test_an_empty_list_asks_for_nothing() -> None:
    assert TitleRules().verdict("anything", None).rule is None


def test_a_verdict_names_the_word_that_decided() -> None:
    assert RULES.verdict("Platformer gameplay and Unboxing", None).matched == "unboxing"


@given(st.text(), st.text())
def test_no_title_breaks_the_rules(title: str, description: str) -> None:
    RULES.verdict(title, description)


@given(st.text(), st.text())
def test_a_negating_word_rejects_whatever_surrounds_it(before: str, after: str) -> None:
    assert RULES.verdict(f"{before} unboxing {after}", "platformer gameplay").rule == "title_negation"


def test_an_explanation_names_every_word_of_each_list() -> None:
    told = RULES.explain("Platformer movie: a jump and run", "Let's play, with gameplay")
    assert told.verdict == RULES.verdict("Platformer movie: a jump and run", "Let's play, with gameplay")
    assert told[1:] == (("platformer", "jump and run"), ("gameplay", "let's play"), ("movie",))


def test_of_words_that_begin_together_the_longest_that_is_whole_decides() -> None:
    rules = TitleRules(keywords=("super", "super mario", "super mario bros"), negations=("n", "n++"))
    assert rules.verdict("Super Mario Bros 3", None).matched == "super mario bros"
    assert rules.verdict("super marioland", None).matched == "super"
    assert rules.verdict("super n++", None).matched == "n++"


words = st.text("aé +'b", min_size=1, max_size=4)


@given(st.lists(words, min_size=1, max_size=5).map(tuple), st.text("aé +'b\u2019", max_size=12))
def test_one_pattern_finds_what_each_word_would_find(listed: tuple[str, ...], title: str) -> None:
    plain = _plain(title)
    one_by_one = any(re.search(rf"(?<!\w){re.escape(_plain(word))}(?!\w)", plain) for word in listed)
    together = TitleRules(negations=listed).verdict(title, None)
    assert bool(together.rule) == one_by_one
    assert not together.rule or together.matched in listed
