"""Every scorer in `filters/` keeps the promise; a new one is found by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from filters.base import (
    ClipFrames,
    Scorer,
    load_scorers,
    measure,
    score_names,
    scorer_folder,
    scorer_names,
)
from shards.codec import Frames
from shards.errors import UserError
from shards.records import ContentBox

RNG = np.random.default_rng(0)
CLIPS: dict[str, Frames] = {
    "noise": RNG.integers(0, 256, (160, 135, 160), np.uint8),
    "black": np.full((160, 135, 160), 16, np.uint8),
    "white": np.full((160, 135, 160), 235, np.uint8),
    "short": RNG.integers(0, 256, (3, 135, 160), np.uint8),
    "single": RNG.integers(0, 256, (1, 135, 160), np.uint8),
}


@pytest.fixture(params=[*scorer_names(), "quality"])
def scorer(
    request: pytest.FixtureRequest,
    untrained: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Scorer:
    """One that takes an argument has to be given one here."""
    called = request.param
    if called == "quality":
        folder = tmp_path_factory.mktemp("classifiers")
        called = f"quality@{folder / untrained(folder)}"
    (found,) = load_scorers((called,))
    return found


def test_there_are_scorers() -> None:
    assert {"motion", "cuts"} <= set(scorer_names())


def test_it_is_named_after_its_file_and_says_what_it_measures(scorer: Scorer) -> None:
    assert type(scorer).__module__ == f"filters.{scorer.name}"
    assert type(scorer).__doc__
    assert scorer.version >= 1
    which = scorer.version if scorer.argument is None else Path(scorer.argument).name
    assert scorer_folder(scorer.called) == f"scores/{scorer.name}-{which}"


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("box", [ContentBox(0, 0, 160, 90), ContentBox(34, 0, 90, 90)])
def test_it_returns_what_it_declares(scorer: Scorer, clip: str, box: ContentBox) -> None:
    scores = measure([scorer], ClipFrames(CLIPS[clip], box, 10))[scorer.called]
    assert scores.keys() == scorer.ranges.keys() | scorer.blobs.keys()
    assert all(math.isfinite(scores[name]) for name in scorer.ranges)
    assert all(len(scores[name]) == size for name, size in scorer.blobs.items())


def test_the_same_clip_gets_the_same_scores_and_stays_as_it_is(scorer: Scorer) -> None:
    frames = CLIPS["noise"].copy()
    frames.flags.writeable = False
    clip = ContentBox(0, 0, 160, 90)
    assert measure([scorer], ClipFrames(frames, clip, 10)) == measure([scorer], ClipFrames(frames, clip, 10))


def test_no_two_scorers_share_a_score() -> None:
    names = [name for scorer in (*scorer_names(), "quality@x") for name in score_names(scorer)]
    assert len(set(names)) == len(names)


def test_a_score_that_is_not_as_declared_is_a_bug_with_a_name() -> None:
    (motion,) = load_scorers(("motion",))

    class Wrong(type(motion)):  # type: ignore[misc]
        ranges = {"motion": (0.5, 1.0)}  # noqa: RUF012

    with pytest.raises(ValueError, match=r"scorer motion: motion is 0\.0, outside 0\.5 to 1\.0"):
        measure([Wrong()], ClipFrames(CLIPS["black"], ContentBox(0, 0, 160, 90), 10))


def test_a_blob_that_is_not_as_declared_is_a_bug_with_a_name() -> None:
    (fingerprint,) = load_scorers(("fingerprint",))

    class Wrong(type(fingerprint)):  # type: ignore[misc]
        blobs = {"fingerprint": 8}  # noqa: RUF012

    with pytest.raises(ValueError, match=r"scorer fingerprint: fingerprint has 1600 bytes, declares 8"):
        measure([Wrong()], ClipFrames(CLIPS["black"], ContentBox(0, 0, 160, 90), 10))


def test_an_unknown_scorer_is_one_helpful_line() -> None:
    with pytest.raises(UserError, match=r"no scorer 'motoin'; there are .*motion"):
        load_scorers(("motoin",))


@pytest.mark.parametrize(
    ("called", "message"),
    [
        ("quality", "quality needs a trained classifier's folder; call it quality@"),
        ("quality@", "quality needs a trained classifier's folder; call it quality@"),
        ("motion@x", "motion takes nothing after @; call it motion"),
    ],
)
def test_an_argument_is_given_to_who_takes_one(called: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_scorers((called,))


def test_where_an_argument_lies_is_of_no_account() -> None:
    for place in ("/a/0123456789ab", "s3://bucket/c/0123456789ab/"):
        assert scorer_folder(f"quality@{place}") == "scores/quality-0123456789ab"
