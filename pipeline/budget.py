"""Budgets of sites."""

from __future__ import annotations

from collections.abc import Mapping


class Budgets:
    """Lets everything through."""

    def __init__(self, dataset: str, settings: Mapping[str, object]) -> None:
        pass

    def take(self, site: str, now_s: float) -> float:
        """Now."""
        return 0.0

    def end(
        self, site: str, now_s: float, *, requests: int, failure: str | None, retry_after_s: float | None
    ) -> None:
        """Nothing."""
