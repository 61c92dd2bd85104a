"""A plan against the build that follows it, on real videos."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from examples.site import VideoSite
from pipeline.attempts import attempt_journal
from pipeline.build import books_of, build
from pipeline.config import load_config
from pipeline.engine.child import OneChild
from pipeline.outcomes import INGESTED
from pipeline.planning.costs import FIGURES, Terms
from pipeline.planning.plan import plan
from pipeline.sources.web import WebSource
from shards.errors import UserError
from shards.manifest import read_version
from shards.records import Video
from shards.store import Store
from tests.quiet import Quiet

WriteConfig = Callable[..., Path]
EXAMPLES = Path(__file__).parents[3] / "examples"
SAMPLE = 5
TERMS = Terms(cores=1, usd_per_cpu_hour=0.02, usd_per_gb_month=0.02)

# Nine of ten intervals hold; the tenth is missed by less than this.
TOLERANCE = 0.25


@pytest.fixture
def samples(write_config: WriteConfig) -> Path:
    """The sample videos, all 13."""
    folders = ("gameplay", "mixed", "not_gameplay")
    return write_config([{"kind": "files", "path": str(EXAMPLES / folder)} for folder in folders])


def genieset(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def stored_bytes(store: Store, folder: str) -> int:
    return sum(path.stat().st_size for path in store.path(folder).rglob("*") if path.is_file())


def test_what_is_planned_is_what_the_build_then_comes_to(samples: Path) -> None:
    config = load_config(samples)
    store = Store(config.dataset)
    made = plan(config, TERMS, SAMPLE, OneChild(), Quiet())
    assert (made.waiting, made.probed) == (13, {INGESTED: SAMPLE})
    assert made.figures.keys() == FIGURES.keys()
    assert books_of(config).counts() == {INGESTED: SAMPLE, "pending": 13 - SAMPLE}

    built = build(config, OneChild(), Quiet())
    assert built.books.counts() == {INGESTED: 13}
    begun = attempt_journal(store).read(["video_id"])["video_id"].to_pylist()
    assert len(begun) == len(set(begun)) == 13, "what was probed is not done again"
    found_s = sum(built.books.video(video_id).duration_s or 0 for video_id in begun)
    shard_bytes = sum(shard.bytes for shard in read_version(store).shards)
    for name, actual in (
        ("source_hours", found_s / 3600),
        ("clips", built.funnel.clips),
        ("pack_bytes", stored_bytes(store, "packs") + stored_bytes(store, "scores")),
        ("shard_bytes", shard_bytes),
    ):
        low, estimate, high = made.figures[name]
        assert low is not None
        assert high is not None
        assert low <= estimate <= high
        assert low * (1 - TOLERANCE) <= actual <= high * (1 + TOLERANCE), name
    assert 0 < made.figures["cpu_hours"].estimate < math.inf
    assert made.figures["downloaded_bytes"] == made.figures["budget_hours"] == (0, 0, 0)
    assert made.limit == ("cpu", None)


def test_what_was_all_probed_is_known(samples: Path) -> None:
    config = load_config(samples)
    made = plan(config, TERMS, 100, OneChild(), Quiet())
    clips = sum(entry.clips for entry in books_of(config).ingested())
    assert made.figures["clips"] == (clips, clips, clips)
    with pytest.raises(UserError, match=r"no video waits to be ingested \(13 ingested\)"):
        plan(config, TERMS, 100, OneChild(), Quiet())


def test_the_command_tells_and_is_a_program_s_too(videos: Path, write_config: WriteConfig) -> None:
    path = write_config([{"kind": "files", "path": str(videos)}])
    told = genieset("plan", str(path), "--sample", "2", "--jobs", "4", "--json")
    assert told.returncode == 0, told.stderr
    made = json.loads(told.stdout)
    assert made["videos"] == {"waiting": 4, "probed": {"ingested": 2}}
    assert made["assumed"]["cores"] == 4
    assert made["figures"].keys() == FIGURES.keys()
    assert (made["ceiling"], made["enough_cores"]) == ("cpu", None)
    shown = genieset("plan", str(path), "--sample", "1")
    assert shown.returncode == 0, shown.stderr
    assert "2 videos, judged by 1 (1 ingested)" in shown.stdout
    assert "no intervals" in shown.stdout
    assert "the CPU is the ceiling" in shown.stdout.splitlines()[-1]


@pytest.fixture
def videos(tmp_path: Path, moving: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(4):
        # What follows the last box is passed over: another file of the same length.
        (folder / f"{number}.mp4").write_bytes(moving.read_bytes() + bytes(8 + number))
    return folder


class OneSite(WebSource):
    """Every video of the source is on one site."""

    kind: Literal["web"] = "web"

    def site(self, video: Video) -> str | None:
        return "loopback"


def test_the_budget_of_a_site_is_told_to_be_the_ceiling(write_config: WriteConfig, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    shutil.copytree(EXAMPLES / "not_gameplay", folder)
    with VideoSite(folder) as site:
        source = OneSite(feeds=(site.feed_url,), allow_private=True)
        sites = {"loopback": {"videos_per_hour": 10}}
        config = load_config(write_config([{"kind": "files", "path": "."}], sites=sites))
        config = config.model_copy(update={"sources": (source,)})
        made = plan(config, Terms(16, 0.02, 0.02), 1, OneChild(), Quiet())
    assert (made.waiting, made.probed) == (2, {INGESTED: 1})
    assert made.limit == ("budget", 1)
    assert made.verdict == (
        "about 12 minutes on 16 cores: the budget of loopback is the ceiling; more than 1 core will not help"
    )
    assert made.figures["budget_hours"].estimate == pytest.approx(0.2)
    assert made.figures["network_hours"].estimate > 0
    (video_id,) = books_of(config).in_state(INGESTED)
    fetched = folder / f"{books_of(config).video(video_id).url.rpartition('/')[2]}.mp4"
    lengths_s = {"cartoon_bunny_loop": 26, "slides_lecture": 75}  # as the feed has them
    share = lengths_s[fetched.stem] / sum(lengths_s.values())
    assert made.figures["downloaded_bytes"] == (
        None,
        pytest.approx(fetched.stat().st_size / share),
        None,
    )
