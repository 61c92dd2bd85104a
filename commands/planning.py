"""The command that tells beforehand what a build will take."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from commands import screen
from commands.arguments import Config, Json, Overrides
from commands.building import settings_of

if TYPE_CHECKING:
    from pipeline.planning.costs import Terms
    from pipeline.planning.plan import Plan

# Assumptions, of the order that large clouds asked in 2025: a spot vCPU was 0.01 to 0.03 USD an hour, a
# GB in standard object storage 0.02 to 0.026 USD a month.
_USD_PER_CPU_HOUR = 0.02
_USD_PER_GB_MONTH = 0.02


def plan(
    config: Config,
    overrides: Overrides = None,
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="How many videos are ingested to measure them.")
    ] = 8,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Plan for so many cores.")] = 1,
    usd_per_cpu_hour: Annotated[
        float, typer.Option(min=0, help="Price of a core; put in your own.")
    ] = _USD_PER_CPU_HOUR,
    usd_per_gb_month: Annotated[
        float, typer.Option(min=0, help="Price of storage; put in your own.")
    ] = _USD_PER_GB_MONTH,
    as_json: Json = False,
) -> None:
    """Ingest a few videos, and tell from them what the build will take: hours, bytes, money."""
    from pipeline.engine.child import OneChild
    from pipeline.planning.costs import Terms
    from pipeline.planning.estimate import CONFIDENCE
    from pipeline.planning.plan import plan as make_plan

    terms = Terms(jobs, usd_per_cpu_hour, usd_per_gb_month)
    with settings_of(config, overrides) as settings, screen.progress() as progress:
        made = make_plan(settings, terms, sample, OneChild(), progress)
    if as_json:
        screen.print_json(
            {
                "videos": {"waiting": made.waiting, "probed": made.probed},
                "confidence": CONFIDENCE,
                "figures": {name: figure._asdict() for name, figure in made.figures.items()},
                "assumed": asdict(terms),
                **made.limit._asdict(),
                "verdict": made.verdict,
                "problems": made.problems,
            }
        )
    else:
        _print_plan(made, terms)
    if made.problems:
        raise typer.Exit(1)


def _print_plan(made: Plan, terms: Terms) -> None:
    from pipeline.planning.costs import FIGURES
    from pipeline.planning.estimate import CONFIDENCE

    probed = sum(made.probed.values())
    states = ", ".join(f"{count} {state}" for state, count in made.probed.items())
    rows = {}
    for name, label in FIGURES.items():
        unit = ", MB" if name.endswith("_bytes") else ""
        rows[label + unit] = [_figure(value, 1e6 if unit else 1) for value in made.figures[name]]
    screen.print_columns(
        f"{made.waiting} videos, judged by {probed} ({states})",
        (f"{CONFIDENCE:.0%}: from", "expected", "to"),
        rows,
    )
    if made.figures["clips"].low is None:
        screen.say("one video alone says nothing of how far the others may be from it: no intervals")
    screen.say(
        f"assumed: {terms.usd_per_cpu_hour:g} USD a core and hour, {terms.usd_per_gb_month:g} USD a GB and "
        "month; --usd-per-cpu-hour and --usd-per-gb-month set yours"
    )
    screen.say(made.verdict)


def _figure(value: float | None, unit: float) -> str:
    """Three digits, and never an exponent."""
    if value is None:
        return "-"
    value /= unit
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:,.{min(max(digits, 0), 6)}f}"
