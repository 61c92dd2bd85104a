from __future__ import annotations

import numpy as np
import pytest

from filters.base import ClipFrames, load_scorers, measure
from shards.codec import Frames
from shards.records import ContentBox

WHOLE = ContentBox(0, 0, 160, 90)


def still(count: int = 160, level: int = 120) -> Frames:
    return np.full((count, 135, 160), level, np.uint8)


def scores(frames: Frames, box: ContentBox = WHOLE) -> dict[str, float]:
    measured = measure(load_scorers(("motion", "cuts")), ClipFrames(frames, box, 10))
    return {name: value for values in measured.values() for name, value in values.items()}


def test_a_still_does_not_move_and_has_no_cut() -> None:
    assert scores(still()) == {"motion": 0.0, "cuts": 0.0}


def test_motion_is_the_mean_change_of_luma_and_does_not_wrap() -> None:
    frames = still(2, 16)
    frames[1, :90] = 235
    assert scores(frames)["motion"] == pytest.approx((235 - 16) / 255, abs=1e-6)
    assert scores(frames[::-1])["motion"] == pytest.approx((235 - 16) / 255, abs=1e-6)


def test_motion_ignores_the_padding() -> None:
    frames = still(2, 16)
    frames[1, :90, 40:120] = 116
    assert scores(frames)["motion"] == pytest.approx(50 / 255, abs=1e-6)
    assert scores(frames, ContentBox(40, 0, 80, 90))["motion"] == pytest.approx(100 / 255, abs=1e-6)


@pytest.mark.parametrize("places", [[80], [1], [159], [20, 60, 61, 140]])
def test_hard_cuts_are_counted(places: list[int]) -> None:
    frames = still()
    for number, place in enumerate(places):
        frames[place:] = 40 + 150 * (number % 2 == 0)
    assert scores(frames)["cuts"] == len(places)


def test_fast_scrolling_is_no_series_of_cuts() -> None:
    stripes = np.tile(np.repeat(np.array([40, 200], np.uint8), 20), 8)
    frames = np.stack([np.broadcast_to(np.roll(stripes, 7 * t)[:160], (135, 160)) for t in range(160)])
    assert scores(frames)["motion"] > 0.1
    assert scores(frames)["cuts"] == 0


def test_a_clip_of_one_frame_has_scores_too() -> None:
    assert scores(still(1)) == {"motion": 0.0, "cuts": 0.0}
