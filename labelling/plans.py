"""Which clips a person is shown: a pure function of the catalog of clips, a plan and a seed.

A clip's place in a draw is a hash of the seed and its key, so a draw is the same wherever and whenever
it is made, and a larger one of the same strata holds the smaller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pyarrow as pa

from shards.errors import UserError

QUANTILE_BINS = 10
"""A numeric score is divided into so many bins of about equally many clips."""

PLANS = "random, stratum:COLUMN, near:SCORE=VALUE, near:classifier, dropped, audit"

_KEPT = "kept"
_NO_STRATA = frozenset({"key", "content_box"})


@dataclass(frozen=True)
class Chosen:
    """A clip of a plan.

    Attributes:
        stratum: what it was drawn from; `all` where a plan has no strata.
        probability: how likely it was to be drawn, in (0, 1]; None where a plan does not draw by chance.
    """

    key: str
    stratum: str
    probability: float | None


def sample(clips: pa.Table, plan: str, clips_wanted: int, seed: int) -> list[Chosen]:
    """The clips of a plan in the order in which they are shown, each at most once.

    The order tells nothing of a clip's stratum, but for `near`, which begins with the nearest.

    Args:
        clips: a row a clip, with `key`, `decision` and whatever columns the plan names.
        plan: `random`; `stratum:COLUMN`: an equal share of each value, or of each quantile bin of a column
            of floats; `near:SCORE=VALUE`: those nearest to a value; `dropped`: dropped ones alone, an
            equal share of each rule; `audit`: an equal share of each decision, `kept` being one.
        clips_wanted: how many; fewer where there are no more. A stratum that has not its share is taken
            whole, and the others share what it leaves.

    Raises:
        UserError: there is no such plan or column, the plan finds no clip, or an audit is to have fewer
            clips than there are decisions to look into.
    """
    kind, _, argument = plan.partition(":")
    if kind == "near" and argument:
        chosen = _nearest(clips, plan, argument, clips_wanted, seed)
    else:
        strata = _strata(clips, plan, kind, argument)
        if kind == "audit" and clips_wanted < len(set(strata)):
            raise UserError(
                f"--clips {clips_wanted}: an audit looks into each of {len(set(strata))} decisions; give more"
            )
        chosen = _drawn(clips["key"].to_pylist(), strata, clips_wanted, seed)
    if not chosen:
        raise UserError(f"--plan {plan}: there is no such clip among {len(clips)}")
    return chosen


def is_shared(key: str, overlap: float) -> bool:
    """Whether every labeller is shown a clip; a hash of its key decides, so a larger share holds a smaller.

    Args:
        overlap: the share of such clips, 0 to 1.
    """
    return _place("overlap", key) < overlap


def strata_sizes(clips: pa.Table, plan: str) -> dict[str, int]:
    """Stratum -> how many clips a plan draws from; empty for `near`, which has no strata."""
    kind, _, argument = plan.partition(":")
    sizes: dict[str, int] = {}
    for stratum in [] if kind == "near" else _strata(clips, plan, kind, argument):
        if stratum is not None:
            sizes[stratum] = sizes.get(stratum, 0) + 1
    return sizes


def _strata(clips: pa.Table, plan: str, kind: str, argument: str) -> list[str | None]:
    """The stratum of each clip; None for one that the plan leaves out."""
    decisions: list[str] = clips["decision"].to_pylist()
    if kind == "stratum" and argument:
        return list(_values(clips, plan, argument))
    if not argument and ":" not in plan:
        if kind == "random":
            return ["all"] * len(clips)
        if kind == "audit":
            return list(decisions)
        if kind == "dropped":
            return [None if decision == _KEPT else decision for decision in decisions]
    raise UserError(f"--plan {plan}: no such plan; there are {PLANS}")


def _values(clips: pa.Table, plan: str, column: str) -> list[str]:
    values = _column(clips, plan, column)
    if not pa.types.is_floating(values.type):
        return ["none" if value is None else str(value) for value in values.to_pylist()]
    numbers = _numbers(values)
    known = numbers[~np.isnan(numbers)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, QUANTILE_BINS + 1)[1:-1])) if len(known) else known
    # A value that is an edge lies above it, so that a bin is [edge, next edge).
    bins = np.searchsorted(edges, numbers, side="right")
    bounds = ["-inf", *(f"{edge:g}" for edge in edges), "inf"]
    return [
        "none" if np.isnan(number) else f"{int(place):02d}: {bounds[place]} to {bounds[place + 1]}"
        for number, place in zip(numbers, bins, strict=True)
    ]


def _nearest(clips: pa.Table, plan: str, argument: str, clips_wanted: int, seed: int) -> list[Chosen]:
    score, _, told = argument.partition("=")
    try:
        value = float(told)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise UserError(f"--plan {plan}: {told!r} is no number; write near:SCORE=VALUE, as near:motion=0.004")
    column = _column(clips, plan, score)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise UserError(f"--plan {plan}: {score} holds no numbers; name a score")
    distances = np.abs(_numbers(column) - value)
    keys: list[str] = clips["key"].to_pylist()
    places = [place for place in range(len(keys)) if not np.isnan(distances[place])]
    places.sort(key=lambda place: (distances[place], _place(f"draw:{seed}", keys[place])))
    return [Chosen(keys[place], "all", None) for place in places[:clips_wanted]]


def _drawn(keys: Sequence[str], strata: Sequence[str | None], clips_wanted: int, seed: int) -> list[Chosen]:
    members: dict[str, list[str]] = {}
    for key, stratum in zip(keys, strata, strict=True):
        if stratum is not None:
            members.setdefault(stratum, []).append(key)
    # Round by round, one of each stratum that has one left; in the last round chance says whose it is.
    turns = [
        (turn, _place(f"turn:{seed}:{turn}", stratum), stratum, key)
        for stratum, own in members.items()
        for turn, key in enumerate(_by_hash(f"draw:{seed}", own)[:clips_wanted])
    ]
    taken = sorted(turns)[:clips_wanted]
    counts = dict.fromkeys(members, 0)
    for _, _, stratum, _ in taken:
        counts[stratum] += 1
    probabilities = {stratum: counts[stratum] / len(own) for stratum, own in members.items()}
    stratum_of = {key: stratum for _, _, stratum, key in taken}
    return [
        Chosen(key, stratum_of[key], probabilities[stratum_of[key]])
        for key in _by_hash(f"show:{seed}", stratum_of)
    ]


def _column(clips: pa.Table, plan: str, name: str) -> pa.ChunkedArray:
    known = sorted(set(clips.column_names) - _NO_STRATA)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise UserError(f"--plan {plan}: clips have no column {name!r}; {hint}")
    return clips[name]


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """[N] float64; NaN where there is none."""
    numbers: np.ndarray = column.cast(pa.float64()).to_numpy()
    return numbers


def _by_hash(salt: str, keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=lambda key: (_place(salt, key), key))


def _place(salt: str, name: str) -> float:
    """A number in [0, 1] that is a hash of both."""
    digest = hashlib.sha256(f"label:{salt}:{name}".encode(errors="replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
