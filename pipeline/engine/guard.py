"""Ends what a Ray of this machine leaves behind. Run as a program: `guard.py FOLDER`.

Whoever starts a local Ray starts this beside it and holds its standard input. When that ends, because
the work is done or because the holder was killed, every process that was started with `MARK=FOLDER`
in its environment is killed, and the folder is removed. Ray's agents would otherwise go on for minutes
after the death of the driver that started them, and its logs for ever.

It needs nothing but the standard library, so that it starts at once and stays small.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "zz_genieset_ray"
"""Named so that it comes last: Ray's processes write their titles over the beginning of their environment."""

_LOOK_EVERY_S = 0.05


def main() -> None:
    """Wait for the end of standard input, then clean up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = sys.argv[1]
    sys.stdin.buffer.read()
    while left := _marked(folder):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(_LOOK_EVERY_S)
    shutil.rmtree(folder, ignore_errors=True)


def _marked(folder: str) -> list[int]:
    mark = f"{MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                ours = mark in (entry / "environ").read_bytes().split(b"\0")
                dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except OSError:
                continue  # it has ended, or is another user's
            if ours and not dead:
                found.append(int(entry.name))
    return found


if __name__ == "__main__":
    main()
