"""What would be right where a rule names a column that is not there."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

from filters.base import score_names, scorer_names

_UNKNOWN = re.compile(r'Referenced column "(?P<name>[^"]+)" not found')


def explain_unknown(reason: str, columns: Collection[str]) -> str:
    """One line from DuckDB's error.

    Args:
        columns: those that a rule may name.
    """
    found = _UNKNOWN.search(reason)
    if not found:
        return f"{reason}; a rule is an SQL predicate on {', '.join(columns)}"
    name = found["name"]
    given_by = {score: scorer for scorer in scorer_names() for score in score_names(scorer)}
    if name in scorer_names():
        scores = ", ".join(score_names(name)) or "no score"
        return f"{name} is a scorer, which gives {scores}; {_have(name, columns)}"
    if name in given_by:
        return f"{name} is of a scorer that was not asked for; add {given_by[name]} to `scorers:`"
    near = get_close_matches(name, columns, n=1)
    meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(columns)}"
    return f"there is no column {name}; {meant}"


def _have(scorer: str, columns: Collection[str]) -> str:
    if set(score_names(scorer)) <= set(columns):
        return "name one of these"
    return f"name one of these, and add {scorer} to `scorers:`"
