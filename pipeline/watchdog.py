"""Says so when nothing comes to an end: which videos are at work, and for how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

QUIET_S = 600.0
_NAMED = 3


class Watchdog:
    """Names what is stuck. A context manager: it watches while it is open.

    It kills nothing, since every part of a unit's work has a deadline of its own; it is there so that
    nobody has to guess meanwhile.

    Args:
        note: is told, in one line, after each further stretch of `quiet_s` in which nothing ended.
    """

    def __init__(self, note: Callable[[str], None], quiet_s: float = QUIET_S) -> None:
        self._note = note
        self._quiet_s = quiet_s
        self._began_s: dict[str, float] = {}
        self._last_end_s = time.monotonic()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def begins(self, name: str) -> None:
        """Work on it begins."""
        with self._lock:
            self._began_s[name] = time.monotonic()

    def ends(self, name: str) -> None:
        """Work on it has ended."""
        with self._lock:
            self._began_s.pop(name, None)
            self._last_end_s = time.monotonic()

    def _watch(self) -> None:
        while not self._closing.wait(self._quiet_s / 10):
            with self._lock:
                now_s = time.monotonic()
                longest = sorted(self._began_s.items(), key=lambda item: item[1])[:_NAMED]
                if not longest or now_s - self._last_end_s < self._quiet_s:
                    continue
                self._last_end_s = now_s
                told = ", ".join(f"{name} (for {_minutes(now_s - began_s)})" for name, began_s in longest)
            self._note(f"nothing has ended for {_minutes(self._quiet_s)}; longest at work: {told}")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
