"""What a stage tells while it works."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told what a build is doing."""

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        """`done` of `total` units of a stage have ended, `what` the last of them."""

    def note(self, message: str) -> None:
        """Something a person should know, in one line; any thread may say it."""
