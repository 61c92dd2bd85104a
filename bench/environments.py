"""Environments of peers: each has packages of its own, beside ours and never among them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.rounds import CannotRun


def make_environment(home: Path, requirements: Sequence[str], finish: Callable[[], None]) -> None:
    """Install packages into a virtual environment, unless the same are there.

    Args:
        finish: what is left to do once they are installed.

    Raises:
        CannotRun: they cannot be installed.
    """
    ready = home / ".ready"
    if ready.exists() and ready.read_text().split() == sorted(requirements):
        return
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [
            str(python_of(home)),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *requirements,
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotRun(f"it cannot be installed: {last_line(done.stderr)}")
    finish()
    ready.write_text("\n".join(sorted(requirements)))


def python_of(home: Path) -> Path:
    """The interpreter of an environment."""
    return home / "bin" / "python"


def last_line(said: str) -> str:
    """What a failed command said last."""
    return (said.strip().splitlines() or ["it said nothing"])[-1]
