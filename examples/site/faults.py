"""What goes wrong on real sites, on request: each fault is met by one request of an address, then gone."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """Another status than the right one, without a body: 403, 404, 429, 503, ..."""

    status: int
    retry_after: str | None = None


@dataclass(frozen=True)
class Cut:
    """The body ends before its length: the connection is reset, or closed as if all were there."""

    after_bytes: int
    reset: bool = True


@dataclass(frozen=True)
class Stall:
    """The body stops, and the connection stays open until the site closes or is told to go on."""

    after_bytes: int = 0


Fault = Answer | Cut | Stall
KINDS: dict[str, type[Fault]] = {"answer": Answer, "cut": Cut, "stall": Stall}


class Faults:
    """The faults that are still to be met, by address."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Fault]] = {}
        self._lock = threading.Lock()
        self.go_on = threading.Event()

    def add(self, path: str, faults: Iterable[Fault]) -> None:
        """Let the next requests of an address meet these, one each."""
        with self._lock:
            self._waiting.setdefault(path, deque()).extend(faults)

    def next(self, path: str) -> Fault | None:
        """The fault that this request meets."""
        with self._lock:
            waiting = self._waiting.get(path)
            return waiting.popleft() if waiting else None


def read_faults(path: Path) -> Mapping[str, list[Fault]]:
    """Read faults for a site in a process of its own.

    The file holds `{"/watch/a": [{"answer": {"status": 429, "retry_after": "1"}}, {"stall": {}}]}`.
    """
    told: dict[str, list[dict[str, dict[str, Any]]]] = json.loads(path.read_bytes())
    return {
        address: [KINDS[kind](**settings) for fault in faults for kind, settings in fault.items()]
        for address, faults in told.items()
    }
