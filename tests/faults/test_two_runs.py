"""Two runs of one config at once: nothing is lost, nothing is there twice, and both end well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.attempts import attempt_journal
from shards.store import Store
from tests.faults.books import contents, faults_in
from tests.faults.commands import genieset

LongBuild = Callable[[Path], Path]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_two_runs_of_one_config(
    jobs: str, long_build: LongBuild, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    dataset = tmp_path / "set"
    config = long_build(dataset)
    with (
        genieset("build", config, scratch=tmp_path / "tmp-a") as one,
        genieset("build", config, "--jobs", jobs, scratch=tmp_path / "tmp-b") as other,
    ):
        for process in (one, other):
            _, told = process.communicate(timeout=240)
            assert process.returncode == 0, told
    assert faults_in(dataset) == []
    assert contents(dataset) == undisturbed
    begun = Counter(
        row["video_id"]
        for row in attempt_journal(Store(str(dataset))).read().to_pylist()
        if row["event"] == "begin"
    )
    assert len(begun) == 5
    assert max(begun.values()) <= 2
