"""Our alpha is Krippendorff's, as the package of that name computes it."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelling.agreement import Agreement, agreement

CLIPS = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), max_size=30)


@given(CLIPS)
def test_alpha(clips: list[list[int]]) -> None:
    found = agreement((f"v_{place:08d}", label) for place, labels in enumerate(clips) for label in labels)
    twice = [labels for labels in clips if len(labels) > 1]
    assert found.clips == len(twice)
    if len({label for labels in twice for label in labels}) < 2:
        assert found.alpha is None
        return
    counts = np.array([[labels.count(label) for label in range(1, 6)] for labels in clips])
    expected = krippendorff.alpha(value_counts=counts, level_of_measurement="ordinal")
    assert found.alpha == pytest.approx(expected)


def test_the_ends() -> None:
    assert agreement([]) == Agreement(None, 0)
    assert agreement([("a", 1), ("b", 5)]) == Agreement(None, 0)
    assert agreement([("a", 1), ("a", 1), ("b", 5), ("b", 5)]) == Agreement(1.0, 2)
    worst = agreement([("a", 1), ("a", 5), ("b", 5), ("b", 1)])
    assert worst.alpha is not None
    assert worst.alpha < 0


def test_of_few_clips_nothing_is_shown() -> None:
    few = agreement((f"v_{place:08d}", 5) for place in (*range(9), *range(8)))
    assert few.shown is None
    many = agreement((f"v_{place:08d}", place % 2 + 1) for place in (*range(10), *range(10)))
    assert many.shown == 1.0
