"""`genieset discover --explain`, as a person and as a program see it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.candidates import write_table
from pipeline.config import load_config
from shards.records import CANDIDATE_SCHEMA, Video
from shards.store import Store

EXAMPLES = Path(__file__).parents[2] / "examples" / "not_gameplay"
TITLES = {"keywords": ["compost", "platformer"], "actions": ["lecture", "gameplay"], "negations": ["cartoon"]}


@pytest.fixture
def discover(write_config: Callable[..., Path], tmp_path: Path) -> Callable[..., str]:
    folder = tmp_path / "videos"
    shutil.copytree(EXAMPLES, folder)
    config = write_config([{"kind": "files", "path": str(folder)}], titles=TITLES)

    def run(*options: str) -> str:
        done = genieset("discover", str(config), "--explain", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def genieset(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_every_word_that_matched_is_told(discover: Callable[..., str]) -> None:
    told = json.loads(discover("--json"))["titles"]
    (wanted,) = (video for video in told["videos"] if video["state"] == "pending")
    assert (wanted["keywords"], wanted["negations"]) == (["compost"], [])
    assert "lecture" in wanted["actions"]
    assert told["words"]["keywords"] == {
        "compost": {"videos": 1, "accepted": 1, "rejected": 0},
        "platformer": {"videos": 0, "accepted": 0, "rejected": 0},
    }
    assert told["words"]["negations"]["cartoon"] == {"videos": 1, "accepted": 0, "rejected": 1}
    assert next(iter(told["funnel"].items())) == ("found", 2)
    assert told["funnel"]["with an action"] == 1


def test_a_person_sees_a_table(discover: Callable[..., str]) -> None:
    shown = discover()
    for word in ("compost", "lecture", "rejected:title_", "accepted", "funnel", "with a keyword"):
        assert word in shown
    assert "in no video: platformer\n" in shown


def test_what_was_found_is_explained_without_asking_again_and_many_videos_are_cut_short(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    web = {"kind": "web", "feeds": ["http://127.0.0.1:9/feed.rss"], "allow_private": True}
    path = write_config([web], titles=TITLES)
    config = load_config(path)
    url = "http://127.0.0.1:9/"
    videos = [
        Video(f"x-{number:03d}", "web", url, title=f"Compost, part {number}", found_at=(url,))
        for number in range(203)
    ]
    table = pa.Table.from_pylist([video.as_row() for video in videos], schema=CANDIDATE_SCHEMA)
    write_table(Store(config.dataset), config.sources[0], table)
    shown = genieset("discover", str(path), "--explain")
    assert (shown.returncode, "127.0.0.1" in shown.stderr) == (0, False), shown.stderr
    assert shown.stdout.count("Compost, part") == 200
    assert "and 3 videos more; --json has them all\n" in shown.stdout
    assert (
        len(json.loads(genieset("discover", str(path), "--explain", "--json").stdout)["titles"]["videos"])
        == 203
    )
    assert genieset("discover", str(path)).returncode == 1, "without it, the site is asked, and is not there"
