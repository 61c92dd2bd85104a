"""How a unit can end other than well. Bad data becomes one of these; anything else is a bug."""

from __future__ import annotations

INGESTED = "ingested"
PENDING = "pending"

FINAL_FAILURES = frozenset({"unreadable", "unsafe"})
"""Classes that another attempt cannot mend; only these are committed."""

TRANSIENT_FAILURES = frozenset({"unavailable", "throttled", "timeout", "crashed", "bug"})
"""Classes that another run tries again."""


OPTED_OUT = "rejected:opt_out"


def is_final(state: str) -> bool:
    """Whether a unit that ended so is done with for good; who opted out may come back."""
    return state != OPTED_OUT and state.removeprefix("failed:") not in TRANSIENT_FAILURES


class Rejected(Exception):  # noqa: N818 - it is an outcome, not an error
    """The video is fine and not wanted: `rejected:<rule>`.

    Args:
        requests: how many a site was asked before that was known.
    """

    def __init__(self, rule: str, detail: str, *, requests: int = 0) -> None:
        super().__init__(rule, detail)
        self.state = f"rejected:{rule}"
        self.detail = detail
        self.requests = requests


class Failed(Exception):  # noqa: N818 - it is an outcome, not an error
    """The video could not be used: `failed:<class>`.

    Args:
        failure: one of `FINAL_FAILURES` or `TRANSIENT_FAILURES`.
        detail: one line for a person.
        passing: whether the same may go well soon (a connection that broke), so that it is worth
            another try in the same run; a page that is gone is not.
        retry_after_s: how long a site asked to be left alone; 0 if it did not say how long.
        requests: how many a site was asked before it failed.
    """

    def __init__(
        self,
        failure: str,
        detail: str,
        *,
        passing: bool = False,
        retry_after_s: float | None = None,
        requests: int = 0,
    ) -> None:
        if failure not in FINAL_FAILURES | TRANSIENT_FAILURES:
            raise ValueError(f"unknown failure class {failure!r}")
        super().__init__(failure, detail)
        self.failure = failure
        self.state = f"failed:{failure}"
        self.detail = detail
        self.passing = passing
        self.retry_after_s = retry_after_s
        self.requests = requests
