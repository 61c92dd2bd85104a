"""A sample of the operations to be killed at misses nothing of what matters."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.points import kill_points

operations = st.lists(st.sampled_from(["write .tmp/*", "name packs/a.tar", "name versions/000001.json"]))


@given(operations)
def test_a_sample_has_the_ends_and_what_is_around_a_version(names: list[str]) -> None:
    points = kill_points(names, every=False)
    assert points == sorted(set(points))
    assert set(points) <= set(kill_points(names, every=True))
    if names:
        assert {1, len(names)} <= set(points)
    for number, name in enumerate(names, 1):
        if "versions/" in name:
            assert {number - 1, number, number + 1} & set(kill_points(names, every=True)) <= set(points)
    assert all(after - before <= 6 for before, after in pairwise(points))


@given(operations)
def test_every_operation_is_every_one(names: list[str]) -> None:
    assert kill_points(names, every=True) == list(range(1, len(names) + 1))
