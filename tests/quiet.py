"""A progress that prints nothing."""

from __future__ import annotations


class Quiet:
    """Keeps what is noted, and looks whether steps are counted right."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        assert 0 < done <= total, (stage, what)

    def note(self, message: str) -> None:
        self.notes.append(message)
