"""The lists of configs/platformers.yaml on titles as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from filters.titles import TitleRules

CONFIG = Path(__file__).parents[2] / "configs" / "platformers.yaml"
RULES = TitleRules.model_validate(yaml.safe_load(CONFIG.read_text())["titles"])

WANTED = [
    "Super Mario World - Full Game Walkthrough (SNES)",
    "Super Mario Bros. 3 any% speedrun in 51:12",
    "SUPER METROID 100% Map Completion Longplay [No Commentary]",
    "Hollow Knight - No Hit Run, All Bosses",
    "Celeste Any% Speedrun 26:45",
    "Celeste Longplay",
    "Let\u2019s Play Cave Story, part 7",
    "Donkey Kong Country 2: Diddy's Kong Quest 102% Playthrough",
    "Mega Man 2 (NES) Deathless",
    "Castlevania: Symphony of the Night Longplay (PS1)",
    "Rayman Legends - All Levels, no commentary",
    "Indie 2D Platformer Gameplay (PC, 1080p60)",
    "[TAS] Tool-Assisted Sonic the Hedgehog 2 in 15:10",
    "LIMBO Walkthrough Full Game",
    "Braid Anniversary Edition - Full Game",
    "Playdead's INSIDE full game walkthrough",
    "Best metroidvania of the year? First hour of gameplay",
    "SuperTux 0.6.3 gameplay - Icy Island",
    "Kaizo hack: 4 hours of deaths, blind run",
    "Yoshi's Island 100% playthrough world 1",
    "Super Mario Bros. 2 (USA) TAS",
    "Super Ghouls\u2019n Ghosts longplay, no death",
    "Kirby & The Amazing Mirror longplay",
    "Celeste - Full Game Walkthrough",
    "Contra (NES) no death run",
]

UNWANTED = {
    "The Super Mario Bros. Movie - Official Trailer": "title_negation",
    "Sonic the Hedgehog 3 film REACTION!!": "title_negation",
    "Super Mario 64 120 star speedrun": "title_negation",
    "Super Mario Odyssey walkthrough part 1": "title_negation",
    "Super Mario Party Superstars full game": "title_negation",
    "Super Mario 3D World + Bowser's Fury 100% walkthrough": "title_negation",
    "Mario Kart 8 Deluxe gameplay": "title_negation",
    "Metroid Prime Remastered longplay": "title_negation",
    "I made a 2D platformer in Godot in 7 days (devlog)": "title_negation",
    "How to draw Cuphead": "title_negation",
    "Hollow Knight Lore Explained": "title_negation",
    "Top 10 metroidvania games you must play": "title_negation",
    "Cuphead OST - Full Soundtrack": "title_negation",
    "LEGO Super Mario Bros. unboxing and gameplay": "title_negation",
    "Castlevania Netflix season 2, all fights": "title_negation",
    "Roblox platformer obby gameplay": "title_negation",
    "Crash Bandicoot, a 3D platformer: gameplay": "title_negation",
    "Celeste Barber tries a speedrun of her kitchen": "title_keyword",
    "Dutch braid tutorial for beginners": "title_negation",
    "Dutch braid, full walkthrough": "title_keyword",
    "Limbo dance world record": "title_keyword",
    "Inside the studio: gameplay of our new shooter": "title_keyword",
    "Train platform gameplay simulator": "title_keyword",
    "Grandma's kitchen, full game day": "title_keyword",
    "Shovel Knight costume party": "title_action",
    "Hollow Knight memes that cured my depression": "title_negation",
    "Castlevania 64 longplay": "title_negation",
    "Castlevania season 4, every boss fight": "title_negation",
    "Sonic the Hedgehog (2006) full game": "title_negation",
    "Mega Man X7 gameplay": "title_negation",
    "Cuphead boss fight rap song": "title_negation",
    "Drawing Hollow Knight, no commentary": "title_negation",
    "Super Metroid speedrun news: the record falls": "title_negation",
    "Super Mario Bros. Wonder tier list, all levels": "title_negation",
    "Kirby and the Forgotten Land walkthrough": "title_keyword",
}

DESCRIBED = [
    ("Shovel Knight, part 3", "My first playthrough. Original soundtrack by Jake Kaufman.", None),
    ("Spelunky HD", "Let\u2019s play with no commentary!", None),
    ("Cave Story in 4K", "Filmed at the con, the panel begins at 2:10.", "title_action"),
    ("Pizza Tower", None, "title_action"),
    ("A quiet evening", "2D platformer gameplay: Hollow Knight, Celeste", "title_keyword"),
    ("Hollow Knight plush unboxing", "Then some gameplay, 100%", "title_negation"),
]


@pytest.mark.parametrize("title", WANTED)
def test_play_is_wanted(title: str) -> None:
    assert RULES.verdict(title, None).rule is None


@pytest.mark.parametrize("title", UNWANTED)
def test_what_is_no_play_of_a_2d_platformer_is_not(title: str) -> None:
    assert RULES.verdict(title, None).rule == UNWANTED[title]


@pytest.mark.parametrize(("title", "description", "rule"), DESCRIBED)
def test_of_a_description_the_action_counts_alone(
    title: str, description: str | None, rule: str | None
) -> None:
    assert RULES.verdict(title, description).rule == rule


def test_no_word_is_listed_twice() -> None:
    for words in (RULES.keywords, RULES.actions, RULES.negations):
        assert len(set(words)) == len(words)
