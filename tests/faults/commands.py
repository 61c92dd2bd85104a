"""The real command in a session of its own, so that everything it starts can be told from the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.processes import session_members, wait_until

ROOT = Path(__file__).parents[2]


@contextmanager
def genieset(*arguments: str | Path, scratch: Path) -> Iterator[subprocess.Popen[str]]:
    """A running `genieset`; whatever of it is left when the test is done with it is killed."""
    scratch.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "genieset", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)},
        text=True,
        start_new_session=True,
        # A shell that starts the tests in the background has them, and all they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            yield process
        finally:
            for pid in session_members(process.pid):
                os.kill(pid, signal.SIGKILL)


def wait_for_silence(session: int) -> None:
    """Until nothing of a session lives any more."""
    wait_until(lambda: not session_members(session), f"the end of {session_members(session)}")
