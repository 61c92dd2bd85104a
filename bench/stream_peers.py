"""Loaders of others, in an environment of their own; what they do is in `bench/loaders_driver.py`.

TorchCodec brings no FFmpeg. It is lent the one that PyAV brings, under the names it looks for, so both
decode with the same libraries and nobody has to install anything.
"""

from __future__ import annotations

import os
import re
import sysconfig
from pathlib import Path

from bench.environments import make_environment, python_of
from bench.sources import CACHE

_HOME = CACHE / "loaders"
_PYTHON = python_of(_HOME)
_FFMPEG = _HOME / "ffmpeg"

_REQUIREMENTS = (
    "av==18.1.0",
    "decord2==3.4.0",
    "litdata==0.2.76",
    "mosaicml-streaming==0.13.0",
    "torch==2.14.1",
    "torchcodec==0.17.0",
    "webdataset==1.0.2",
)

_LIBRARY = re.compile(r"(?P<name>lib(?:av|sw)[a-z]+)-[0-9a-f]{8}\.so\.(?P<major>\d+)[.\d]*")


def command(name: str, settings: Path) -> tuple[str, ...]:
    """What serves turns of a peer."""
    return str(_PYTHON), "-m", "bench.loaders_driver", name, str(settings)


def environment() -> dict[str, str]:
    """The variables that a peer's libraries are found by."""
    paths = [str(_FFMPEG), sysconfig.get_config_var("LIBDIR") or "", os.environ.get("LD_LIBRARY_PATH", "")]
    return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths))}


def install() -> None:
    """Make the environment, once; some 5 GB, most of it what torch brings for GPUs.

    Raises:
        CannotRun: it cannot be installed.
    """
    make_environment(_HOME, _REQUIREMENTS, _lend_ffmpeg)


def _lend_ffmpeg() -> None:
    _FFMPEG.mkdir()
    (libraries,) = _HOME.glob("lib/python*/site-packages/av.libs")
    for library in libraries.iterdir():
        # They name each other so, and look where the first one was found.
        (_FFMPEG / library.name).symlink_to(library)
        if named := _LIBRARY.fullmatch(library.name):
            (_FFMPEG / f"{named['name']}.so.{named['major']}").symlink_to(library)
