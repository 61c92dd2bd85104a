"""A command line that cannot be run is told in one line, with where to read on."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest


def genieset(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["quer"], "no such command 'quer'. Did you mean 'query'; `genieset --help` tells more"),
        (["export", "set"], "missing option '--to'; `genieset export --help` tells more"),
        (["bench", "cut", "--foo"], "no such option: --foo; `genieset bench cut --help` tells more"),
        (["verify", "set", "--sample", "0"], "greater than or equal to 1; `genieset verify --help` tells"),
        (["versions", "nowhere"], "dataset nowhere: there is none; `genieset build CONFIG` makes one"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], told: str) -> None:
    done = genieset(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_asked_for_nothing_it_shows_what_there_is() -> None:
    done = genieset()
    assert done.returncode == 2
    assert "Usage: genieset" in done.stdout
    assert done.stderr == ""


def test_it_tells_its_release() -> None:
    assert genieset("--version").stdout == f"genieset {metadata.version('genieset')}\n"
