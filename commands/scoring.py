"""The command that lists the scorers."""

from __future__ import annotations

import inspect

from commands import screen
from commands.arguments import Json


def scorers(as_json: Json = False) -> None:
    """What can be measured of a clip, and the columns that rules may name."""
    from filters.base import load_scorers, scorer_names

    found = load_scorers(tuple(scorer_names()))
    if as_json:
        screen.print_json(
            {
                scorer.name: {
                    "view": scorer.view,
                    "version": scorer.version,
                    "scores": {
                        name: [low, None if high == float("inf") else high]
                        for name, (low, high) in scorer.ranges.items()
                    },
                }
                for scorer in found
            }
        )
        return
    rows: list[tuple[object, ...]] = []
    for scorer in found:
        (about, *_) = (inspect.getdoc(scorer) or "").splitlines()
        for name, (low, high) in scorer.ranges.items():
            reach = f"{low:g} and more" if high == float("inf") else f"{low:g} to {high:g}"
            rows.append((scorer.name, scorer.view, name, reach, about))
        if not scorer.ranges:
            rows.append((scorer.name, scorer.view, None, None, about))
    screen.print_table(("scorer", "looks at", "score", "range", "what"), rows)
    screen.say(
        f"{len(found)} scorers; name them in `scorers:`, and their scores in `curate.rules`. "
        "`genieset bench score` tells what they cost; quality comes from a trained classifier"
    )
