"""Ends what a Ray of this machine leaves behind. Run as a program: `guard.py FOLDER`.

Whoever starts a local Ray starts this beside it and holds its standard input. When that ends, because
the work is done or because the holder was killed, every process that was started with `MARK=FOLDER`
in its environment, or that has a file of the folder open, is killed, and the folder is removed. Ray's
agents would otherwise go on for minutes after the death of the driver that started them, and its logs
for ever.

It needs nothing but the standard library, so that it starts at once and stays small.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "GENIESET_RAY"
"""The variable of the environment by which a process is known."""

_LOOK_EVERY_S = 0.05
_LOOKS_FOR_REST = 100


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
    # What dies at this moment may still write.
    for _ in range(_LOOKS_FOR_REST):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_LOOK_EVERY_S)
        if not Path(folder).exists():
            return


def _marked(folder: str) -> list[int]:
    mark = f"{MARK}={folder}".encode()
    # Not its holder either, which may live on without its Ray, and has logs of it open.
    spared = {os.getpid(), os.getppid()}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in spared:
            try:
                ours = mark in (entry / "environ").read_bytes().split(b"\0") or _holds(entry, folder)
                dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except OSError:
                continue  # it has ended, or is another user's
            if ours and not dead:
                found.append(int(entry.name))
    return found


def _holds(entry: Path, folder: str) -> bool:
    """Whether a process has a file of the folder open: a log, mostly.

    Ray's agents write their titles over the environment that they were started with.
    """
    for descriptor in (entry / "fd").iterdir():
        try:
            if str(descriptor.readlink()).startswith(f"{folder}/"):
                return True
        except OSError:
            continue  # closed meanwhile
    return False


if __name__ == "__main__":
    main()
