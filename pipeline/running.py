"""A build is known to be at work while it is, so that nobody takes what it has just written for garbage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.progress import Progress
from shards.runs import Announcement, announce
from shards.store import Store


class Beating:
    """Progress that tells others, too, that the run lives on."""

    def __init__(self, progress: Progress, run: Announcement) -> None:
        self._progress = progress
        self._run = run

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        """As of `Progress`."""
        self._run.beat()
        self._progress.step(stage, done, total, what)

    def note(self, message: str) -> None:
        """As of `Progress`."""
        self._progress.note(message)

    def check(self) -> None:
        """Be sure that nobody took this run for dead; raises UserError if somebody did."""
        self._run.check()


@contextmanager
def at_work(store: Store, progress: Progress) -> Iterator[Beating]:
    """Be announced as a build; yields what is to be told of its progress.

    Raises:
        UserError: garbage is being collected there.
    """
    with announce(store, "build") as run:
        yield Beating(progress, run)
