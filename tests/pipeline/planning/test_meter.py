"""What the meter says of units, and what it does not change."""

from __future__ import annotations

import math

from pipeline.engine import Died, Done, Part
from pipeline.engine.child import OneChild
from pipeline.planning.meter import Meter
from tests.pipeline import units


def first(_: object) -> Part:
    return Part(60, "network")


def held(number: int) -> int:
    return 100 * number


def test_a_unit_in_parts_is_measured_part_by_part() -> None:
    meter = Meter(OneChild(), held)
    assert list(meter.run(units.square_in_parts, [3], first)) == [(3, Done(9))]
    ((unit, (fetched, cut)),) = meter.spent
    assert unit == 3
    assert (fetched.side, cut.side) == ("network", "cpu")
    for part in (fetched, cut):
        assert part.held_bytes == 300
        assert 0 <= part.cpu_s < math.inf
        assert 0 <= part.wall_s < math.inf


def test_a_plain_function_is_one_part() -> None:
    meter = Meter(OneChild(), held)
    assert list(meter.run(units.double, [3], first)) == [(3, Done(6))]
    assert [(unit, len(parts)) for unit, parts in meter.spent] == [(3, 1)]


def test_what_goes_wrong_is_told_as_without_a_meter_and_leaves_no_figures() -> None:
    meter = Meter(OneChild(), held)
    ((_, outcome),) = meter.run(units.kill_itself, ["bye"], first)
    assert isinstance(outcome, Died)
    assert outcome.log.endswith("bye")
    assert meter.spent == []
