"""`genieset discover --explain`, as a person and as a program see it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "not_gameplay"
TITLES = {"keywords": ["compost", "platformer"], "actions": ["lecture", "gameplay"], "negations": ["cartoon"]}


@pytest.fixture
def discover(write_config: Callable[..., Path], tmp_path: Path) -> Callable[..., str]:
    folder = tmp_path / "videos"
    shutil.copytree(EXAMPLES, folder)
    config = write_config([{"kind": "files", "path": str(folder)}], titles=TITLES)

    def run(*options: str) -> str:
        command = [sys.executable, "-P", "-m", "genieset", "discover", str(config), "--explain", *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


def test_every_word_that_matched_is_told(discover: Callable[..., str]) -> None:
    told = json.loads(discover("--json"))["titles"]
    (wanted,) = (video for video in told["videos"] if video["state"] == "pending")
    assert (wanted["keywords"], wanted["negations"]) == (["compost"], [])
    assert "lecture" in wanted["actions"]
    assert told["words"]["keywords"] == {"compost": 1, "platformer": 0}
    assert next(iter(told["funnel"].items())) == ("found", 2)
    assert told["funnel"]["with an action"] == 1


def test_a_person_sees_a_table(discover: Callable[..., str]) -> None:
    shown = discover()
    for word in ("compost", "lecture", "rejected:title_", "funnel", "with a keyword"):
        assert word in shown
