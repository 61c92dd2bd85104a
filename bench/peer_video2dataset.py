"""video2dataset, a peer that turns videos into clips too, in an environment of its own.

Its encoder settings are ffmpeg's defaults, not ours, and every run pays for its start (imports and a
worker, some ten CPU seconds), which a real job pays once. It encodes three times, once for each of
cutting, rate and size, and few of its clips have exactly 160 frames.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bench.environments import last_line, make_environment, python_of
from bench.rounds import CannotRun, Work
from bench.sources import CACHE
from pipeline.decode import ffmpeg_binary
from pipeline.probe import probe

NAME = "video2dataset"

_HOME = CACHE / "video2dataset"
_PYTHON = python_of(_HOME)
_DRIVER = Path(__file__).with_name("video2dataset_driver.py")

# 1.3.0 is its last release; what it needs has moved on since, so the last that fit are named.
_REQUIREMENTS = ("video2dataset==1.3.0", "pyarrow==17.0.0", "pandas==2.2.3", "numpy==1.26.4", "setuptools<81")

_KINDS = frozenset({".mp4", ".webm", ".mov", ".avi", ".mkv"})


def prepare(video: Path) -> Work:
    """Make it ready to cut a video into exact clips.

    Raises:
        CannotRun: it cannot be installed, does not know this kind of file, or (in its turn) fails.
    """
    if video.suffix not in _KINDS:
        raise CannotRun(f"it does not know {video.suffix or 'such'} files")
    make_environment(_HOME, _REQUIREMENTS, _lend_ffmpeg)
    environment = os.environ | {"PATH": f"{_HOME / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    duration_s = probe(video).duration_s or 0.0

    def work(folder: Path) -> None:
        command = [str(_PYTHON), str(_DRIVER), str(video.absolute()), str(duration_s), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotRun(f"it failed: {last_line(done.stderr)}")

    return work


def _lend_ffmpeg() -> None:
    (_HOME / "bin" / "ffmpeg").symlink_to(ffmpeg_binary("bundled"))
