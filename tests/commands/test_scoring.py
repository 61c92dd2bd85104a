"""The list of scorers."""

from __future__ import annotations

import json
import subprocess
import sys

from filters.base import score_names, scorer_names


def scorers(*arguments: str) -> str:
    command = [sys.executable, "-P", "-m", "genieset", "scorers", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_scorer_is_listed_with_the_columns_that_rules_may_name() -> None:
    told = json.loads(scorers("--json"))
    assert {name: tuple(scorer["scores"]) for name, scorer in told.items()} == {
        name: score_names(name) for name in scorer_names()
    }
    table = scorers().splitlines()
    for name in scorer_names():
        for score in score_names(name):
            assert any(line.strip().startswith(f"{name} ") and f" {score} " in line for line in table), (
                name,
                score,
            )
