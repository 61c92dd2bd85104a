"""Real processes: what became of them, and waiting for it without guessing how long it takes."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE_S = 60.0
_LOOK_EVERY_S = 0.005


def wait_until(condition: Callable[[], object], what: str | Callable[[], str]) -> None:
    """Look until the condition holds; a test that waits in vain says for what."""
    ends_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > ends_s:
            raise AssertionError(f"waited {PATIENCE_S:g} s in vain: {what() if callable(what) else what}")
        time.sleep(_LOOK_EVERY_S)


def wait_for_end(pid: int) -> None:
    """Until a process, of whomever it is a child, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with os.fdopen(descriptor) as process:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        assert poll.poll(PATIENCE_S * 1000), f"process {pid} is still there"


def session_members(session: int) -> dict[int, str]:
    """The living processes of a session: id -> name. A dead one that nobody reaps does not live."""
    return {pid: name for pid, name, state, its in _processes() if its == session and state not in "ZX"}


def _processes() -> Iterator[tuple[int, str, str, int]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            # The name stands in brackets and may hold anything, brackets too.
            name, _, rest = text.partition("(")[2].rpartition(")")
            state, _, _, session = rest.split()[:4]
            yield int(folder.name), name, state, int(session)


def marked(mark: str) -> dict[int, str]:
    """The living processes in whose environment a text stands, in whatever session: id -> name."""
    found = {}
    for pid, name, state, _ in _processes():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if state not in "ZX" and mark.encode() in environment:
            found[pid] = name
    return found
