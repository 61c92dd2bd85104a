from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.titles import TitleRules

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
