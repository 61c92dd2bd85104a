"""Who waits too long says so: a wait that does not end is logged with what is waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

_LOOKS = 4
"""So often is looked within the time that a wait may take, so a step costs no switch of threads."""


class StallWatchdog:
    """Watches over something that is waited for again and again: a context manager around each wait.

    A wait longer than `stall_s` is logged, and again each time it has doubled.

    Args:
        stall_s: seconds that a wait may take, > 0.
        describe: tells what is waited for; called by another thread, and only when it takes too long.
    """

    def __init__(self, stall_s: float, describe: Callable[[], str]) -> None:
        self._stall_s = stall_s
        self._describe = describe
        self._since_s: float | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> StallWatchdog:
        self._since_s = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="stall-watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._since_s = None

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()

    def _watch(self) -> None:
        watched, patience_s = None, self._stall_s
        while not self._closed.wait(self._stall_s / _LOOKS):
            since_s = self._since_s
            if since_s != watched:
                watched, patience_s = since_s, self._stall_s
            if since_s is None:
                continue
            waited_s = time.monotonic() - since_s
            if waited_s >= patience_s:
                _log.warning("nothing for %.0f s: waiting for %s", waited_s, self._describe())
                patience_s = 2 * waited_s
