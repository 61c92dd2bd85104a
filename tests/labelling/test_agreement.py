from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelling.agreement import Agreement, agreement

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers.
_ = None
OBSERVED = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3),
    (_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _),
)


def test_the_example_of_the_paper() -> None:
    labels = [
        (f"clip {place}", label)
        for observer in OBSERVED
        for place, label in enumerate(observer)
        if label is not None
    ]
    found = agreement(labels)
    assert found.alpha == pytest.approx(0.815, abs=0.0005)
    assert found.clips == 11


@given(st.lists(st.integers(1, 5), min_size=2, max_size=30).filter(lambda labels: len(set(labels)) > 1))
def test_whoever_says_the_same_agrees_fully(labels: list[int]) -> None:
    twice = [(str(place), label) for place, label in enumerate(labels) for _ in range(2)]
    assert agreement(twice).alpha == pytest.approx(1)


def test_without_a_clip_that_has_two_labels_there_is_none() -> None:
    assert agreement([("a", 1), ("b", 5)]) == Agreement(None, 0)
    assert agreement([("a", 3), ("a", 3)]) == Agreement(None, 1)
