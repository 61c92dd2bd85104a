"""What the hours depend on, and from how many cores on they do not depend on those."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.planning.costs import FIGURES, Limit, Terms, figures, limit, verdict
from pipeline.planning.estimate import Draws

HOURS = st.one_of(st.just(0.0), st.floats(0.001, 1e6))
CORES = st.integers(1, 1000)


def wall_hours(cpu_h: float, network_h: float, budget_h: float, cores: int) -> float:
    totals = {"cpu_s": 3600 * cpu_h, "network_s": 3600 * network_h}
    names = ("source_s", "clips", "downloaded_bytes", "clip_bytes", "beside_bytes")
    totals |= dict.fromkeys(names, 0.0)
    drawn: dict[str, Draws] = {name: np.array([value]) for name, value in totals.items()}
    return float(figures(drawn, budget_h, Terms(cores, 0, 0))["wall_hours"][0])


@given(HOURS, HOURS, HOURS)
def test_more_cores_help_as_long_as_is_said_and_no_longer(
    cpu_h: float, network_h: float, budget_h: float
) -> None:
    enough = limit(cpu_h, network_h, budget_h, 1).enough_cores
    if enough is None:
        assert wall_hours(cpu_h, network_h, budget_h, 8) == pytest.approx(cpu_h / 8)
        return
    best = wall_hours(cpu_h, network_h, budget_h, 10**9)
    assert wall_hours(cpu_h, network_h, budget_h, enough) == pytest.approx(best)
    if enough > 1 and cpu_h:
        assert wall_hours(cpu_h, network_h, budget_h, enough - 1) > best


@given(HOURS, HOURS, HOURS, CORES)
def test_the_ceiling_is_what_takes_longest(
    cpu_h: float, network_h: float, budget_h: float, cores: int
) -> None:
    hours = {"cpu": cpu_h / cores, "network": network_h, "budget": budget_h}
    found = limit(cpu_h, network_h, budget_h, cores)
    assert hours[found.ceiling] == max(hours.values())
    assert verdict(found, wall_hours(cpu_h, network_h, budget_h, cores), cores, "example").isprintable()


def test_the_verdicts() -> None:
    assert limit(100, 2, 10, 1) == Limit("cpu", 10)
    assert limit(100, 2, 10, 20) == Limit("budget", 10)
    assert limit(5, 2, 10, 1) == Limit("budget", 1)
    assert limit(1, 10, 0, 1) == Limit("network", 2)
    assert limit(100, 0, 0, 4) == Limit("cpu", None)
    assert verdict(limit(100, 2, 10, 1), 102, 1, "example") == (
        "about 102 hours on 1 core: the CPU is the ceiling; more cores help up to 10, "
        "from there on the download is the ceiling"
    )
    assert verdict(limit(5, 2, 10, 4), 10, 4, "example") == (
        "about 10 hours on 4 cores: the budget of example is the ceiling; more than 1 core will not help"
    )


def test_cores_are_paid_for_while_they_wait() -> None:
    totals = {
        "source_s": 3600.0,
        "clips": 225.0,
        "downloaded_bytes": 2e9,
        "network_s": 360.0,
        "cpu_s": 3600.0,
        "clip_bytes": 3e9,
        "beside_bytes": 1e9,
    }
    terms = Terms(cores=4, usd_per_cpu_hour=0.5, usd_per_gb_month=0.1)
    found = figures({name: np.array([value]) for name, value in totals.items()}, 10.0, terms)
    assert found.keys() == FIGURES.keys()
    assert {name: float(draws[0]) for name, draws in found.items()} == pytest.approx(
        {
            "source_hours": 1,
            "clips": 225,
            "downloaded_bytes": 2e9,
            "budget_hours": 10,
            "network_hours": 0.1,
            "cpu_hours": 1,
            "wall_hours": 10,
            "pack_bytes": 4e9,
            "shard_bytes": 3e9,
            "machine_usd": 20,
            "storage_usd_per_month": 0.7,
        }
    )
