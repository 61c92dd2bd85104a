from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from filters.titles import TitleRules, Verdict

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


@pytest.mark.parametrize("word", ["", "  ", "\u2003"])
def test_a_word_of_nothing_is_no_word(word: str) -> None:
    with pytest.raises(ValidationError):
        TitleRules(negations=(word,))


def test_white_space_around_a_word_says_nothing() -> None:
    assert TitleRules(negations=(" film ",)).verdict("film", None) == ("title_negation", "film")


def test_words_that_overlap_are_all_explained_as_they_are_spelled_first() -> None:
    rules = TitleRules(keywords=("New Super Mario Bros", "super mario", "kirby", "Super Mario"))
    told = rules.explain("NEW SUPER MARIO BROS 100%", None)
    assert told.keywords == ("New Super Mario Bros", "super mario")
    assert rules.explain(None, None) == (Verdict("title_keyword", None), (), (), ())


PARTS = ("a", "b", "ab", "a b", "a's", "a\u2019s", "+", "a+", "%", "_", "1", " ", "-", "\n", "\u00df", "SS")
PARTS += ("\uff21", "\u00e9", "e\u0301", "\u0130", "\u1e9e", ".*", "[a", "\\w", "(")
TEXTS = st.lists(st.sampled_from(PARTS), max_size=8).map("".join)
# A line break is in no word: it stands between title and description.
LISTS = st.lists(TEXTS.filter(lambda word: word.strip() and "\n" not in word), max_size=4).map(tuple)


@given(st.builds(TitleRules, keywords=LISTS, actions=LISTS, negations=LISTS), TEXTS, TEXTS)
def test_the_verdict_is_that_of_each_word_looked_for_by_itself(
    rules: TitleRules, title: str, description: str
) -> None:
    held = {
        "keywords": [word for word in rules.keywords if holds(title, word)],
        "actions": [word for word in rules.actions if holds(f"{title}\n{description}", word)],
        "negations": [word for word in rules.negations if holds(title, word)],
    }
    told = rules.explain(title, description)
    assert rules.verdict(title, description) == told.verdict
    for name, words in held.items():
        assert list(map(plain, getattr(told, name))) == list(dict.fromkeys(map(plain, words)))
    if held["negations"]:
        assert told.verdict.rule == "title_negation"
        assert told.verdict.matched in held["negations"]
    elif rules.keywords and not held["keywords"]:
        assert told.verdict == ("title_keyword", None)
    elif rules.actions and not held["actions"]:
        assert told.verdict == ("title_action", None)
    else:
        assert told.verdict.rule is None
        assert told.verdict.matched in (held["keywords"] or [None])


def holds(text: str, word: str) -> bool:
    """Whether a text holds a word as a whole, at any place."""
    text, word = plain(text), plain(word)
    return any(
        text.startswith(word, place)
        and not letter(text[place - 1 : place])
        and not letter(text[place + len(word) : place + len(word) + 1])
        for place in range(len(text))
    )


def plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    return text.replace("\u2019", "'").replace("\u2010", "-").replace("\u2011", "-")


def letter(character: str) -> bool:
    return character.isalnum() or character == "_"
