"""The commands that keep versions, as they are typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", [("versions",), ("gc",), ("gc", "--yes")])
def test_a_slip_in_a_dataset_s_name_is_told(command: tuple[str, ...], tmp_path: Path) -> None:
    name, *options = command
    nowhere = tmp_path / "nowhere"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "genieset", name, nowhere, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: dataset {nowhere}: there is none; `genieset build CONFIG` makes one\n"
    assert not nowhere.exists()
