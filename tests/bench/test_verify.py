"""The benchmark of `genieset verify` measures every contender; how fast they are is not for a test."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path


def bench(dataset: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", "bench", "verify", dataset, "--rounds", "1", "--json"]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def test_all_contenders_and_the_floor_are_measured(hostile: Path) -> None:
    done = bench(hostile)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["clips"] == 6
    assert len(found["measured"]) == 3
    assert all(figures["cpu_ms_per_clip"] > 0 for figures in (found["measured"] | found["floor"]).values())
    assert found["ratios"]["verify"] > 0


def test_a_dataset_with_a_fault_is_not_measured(hostile: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(hostile, tmp_path / "set"))
    tar = next((dataset / "shards").glob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 1
    tar.write_bytes(data)
    done = bench(dataset)
    assert done.returncode == 2
    assert f"error: shards/{tar.name}" in done.stderr
    assert "give a dataset without faults" in done.stderr
