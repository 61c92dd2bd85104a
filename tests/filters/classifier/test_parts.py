"""The parts of the classifier that are pure: folds, calibration, rules, figures, pictures."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from commands.classifier_figures import verdict
from filters.base import ClipFrames
from filters.classifier import calibrate
from filters.classifier.compare import Comparison, shuffle_labels
from filters.classifier.decide import (
    MIN_KEPT_CLIPS,
    MIN_KEPT_VIDEOS,
    candidates,
    decide_by_others,
    rule_for_precision,
    rule_for_share,
    surest,
)
from filters.classifier.folds import make_folds
from filters.classifier.look import Look, to_rgb
from filters.classifier.measures import (
    Measured,
    Predictions,
    _area_of_draw,
    area_under_roc,
    difference_of_areas,
    precision,
    recall,
    reliability,
    share,
)
from filters.labels import Labelled
from shards.keys import clip_key
from shards.records import ContentBox


def told_of(
    seed: int, videos: int = 40, clips: int = 10, strength: float = 2.0, good: float = 0.5
) -> Predictions:
    """Synthetic predictions: calibrated, with something in common to the clips of a video."""
    rng = np.random.default_rng(seed)
    labelled, logits = [], []
    for video in range(videos):
        common = rng.normal(0, 0.5)
        for number in range(clips):
            is_good = rng.random() < good
            labelled.append(Labelled(clip_key(f"v{video}", number), f"v{video}", 5.0 if is_good else 1.0))
            logits.append(rng.normal(strength * (1 if is_good else -1) + common, 2.0, 4))
    table = np.array(logits)
    return Predictions(labelled, calibrate.quality(table, 1.0), calibrate.confidence(table, 1.0))


@given(
    st.lists(
        st.tuples(st.integers(0, 11), st.sampled_from([1.0, 3.0, 5.0])), min_size=60, max_size=120
    ).filter(
        lambda rows: all(len({video for video, said in rows if said == label}) >= 3 for label in (1.0, 5.0))
    ),
    st.integers(0, 100),
)
@settings(max_examples=25, deadline=None)
def test_a_video_is_in_one_fold_and_both_classes_are_in_each(
    rows: list[tuple[int, float]], seed: int
) -> None:
    labelled = [Labelled(clip_key(f"v{v}", n), f"v{v}", label) for n, (v, label) in enumerate(sorted(rows))]
    folds = make_folds(labelled, 3, seed, "L")
    assert np.array_equal(folds, make_folds(labelled, 3, seed, "L"))
    fold_of: dict[str, int] = {}
    for clip, fold in zip(labelled, folds.tolist(), strict=True):
        assert fold_of.setdefault(clip.video_id, fold) == fold
    for fold in range(int(folds.max()) + 1):
        found = {clip.good for clip, of in zip(labelled, folds, strict=True) if of == fold}
        assert {True, False} <= found


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.integers(10, 200))
@settings(max_examples=50, deadline=None)
def test_calibration_never_worsens_the_likelihood_of_what_it_was_fitted_to(
    seed: int, scale: float, count: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, count)
    good = rng.random(count) < 1 / (1 + np.exp(-logits))
    temperature = calibrate.fit_temperature(logits * scale, good)
    assert 0.25 <= temperature <= 20
    assert calibrate.nll(logits * scale, good, temperature) <= calibrate.nll(logits * scale, good) + 1e-6


def test_calibration_finds_the_temperature_that_made_the_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    good = rng.random(len(logits)) < 1 / (1 + np.exp(-logits))
    assert calibrate.fit_temperature(logits * 3, good) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("size", [1.0, 100.0, 1e5, 1e300])
def test_calibration_ends_at_its_bounds_however_large_the_logits(size: float) -> None:
    good = np.arange(20) % 2 == 0
    parted = np.where(good, size, -size)
    assert calibrate.fit_temperature(parted, good) == pytest.approx(0.25)
    assert calibrate.fit_temperature(-parted, good) == pytest.approx(20)


def test_a_seed_may_be_of_any_size() -> None:
    labelled = told_of(0, videos=6).clips
    folds = [make_folds(labelled, 3, seed, "L") for seed in (2**32, 2**70, 2**70)]
    assert np.array_equal(folds[1], folds[2])


def test_confidence_falls_when_frames_are_undecided_and_when_they_disagree() -> None:
    sure = np.array([[4.0, 4.0, 4.0, 4.0]])
    split = np.array([[12.0, 12.0, -4.0, -4.0]])
    assert calibrate.quality(sure, 1.0) == calibrate.quality(split, 1.0)
    assert calibrate.confidence(split, 1.0) < 0.05 < 0.8 < calibrate.confidence(sure, 1.0)
    assert calibrate.confidence(np.zeros((1, 4)), 1.0) == 0
    assert calibrate.confidence(np.full((1, 4), -900.0), 1.0) == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), st.floats(0.25, 20))
def test_scores_stay_in_their_range(logits: list[float], temperature: float) -> None:
    table = np.array([logits])
    assert 0 <= calibrate.quality(table, temperature)[0] <= 1
    assert 0 <= calibrate.confidence(table, temperature)[0] <= 1


@pytest.mark.parametrize("target", [0.7, 0.8, 0.9])
@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_a_rule_meets_its_target_where_it_was_chosen_and_elsewhere(target: float, strength: float) -> None:
    chosen_on, fresh = told_of(1, strength=strength), told_of(2, videos=400, strength=strength)
    rule = rule_for_precision(chosen_on, target)
    assert rule
    found = precision(chosen_on, rule.keeps(chosen_on)).value
    elsewhere = precision(fresh, rule.keeps(fresh)).value
    assert found is not None
    assert elsewhere is not None
    assert found >= target - 1e-4
    assert elsewhere >= target
    assert rule.sql.startswith(f"quality >= {rule.quality:g} AND quality_confidence >= ")


def test_a_rule_s_text_decides_as_the_rule() -> None:
    import duckdb
    import pyarrow as pa

    told = told_of(3, strength=1.5)
    rule = rule_for_precision(told, 0.9)
    assert rule
    scores = pa.table({"quality": told.quality, "quality_confidence": told.confidence})  # noqa: F841  SQL names it
    rows = duckdb.sql(f"SELECT {rule.sql} FROM scores").fetchall()
    assert [passes for (passes,) in rows] == rule.keeps(told).tolist()


def test_a_threshold_lies_between_the_clips_it_parts() -> None:
    labelled = [
        Labelled(clip_key(f"v{v}", n), f"v{v}", 5.0 if n > 3 else 1.0) for v in range(8) for n in range(8)
    ]
    quality = np.tile([0.1, 0.2, 0.1, 0.3, 0.9, 0.9, 1.0, 1.0], 8)
    told = Predictions(labelled, quality, np.ones(64))
    rule = rule_for_precision(told, 0.9)
    assert rule
    assert (rule.quality, rule.confidence) == (0.6, 0.0)
    by_share = rule_for_share(told, 0.5)
    assert by_share
    assert by_share.quality == 0.6


def test_without_anything_to_tell_them_apart_there_is_no_rule() -> None:
    told = told_of(4, strength=0.0, good=0.3)
    assert rule_for_precision(Predictions(told.clips, np.full(400, 0.5), np.zeros(400)), 0.9) is None


def test_of_predictions_that_know_nothing_no_rule_is_made() -> None:
    """The best of many thresholds keeps a few good clips by chance; that is no evidence."""
    best = [surest(told_of(seed, videos=20, strength=0.0)) for seed in range(100)]
    lows = [0.0 if entry is None else entry.low for entry in best]
    assert max(lows) < 0.7
    assert sum(low >= 0.6 for low in lows) <= 5


def test_a_candidate_has_evidence_of_clips_and_of_videos() -> None:
    for entry in candidates(told_of(9, videos=12)):
        assert entry.clips >= MIN_KEPT_CLIPS
        assert entry.videos >= MIN_KEPT_VIDEOS
        assert entry.low <= entry.precision
    one_video = Predictions(
        [Labelled(clip_key("v", n), "v", 5.0) for n in range(90)], np.ones(90), np.ones(90)
    )
    assert candidates(one_video) == []
    assert surest(one_video) is None
    best = surest(told_of(9))
    assert best
    assert rule_for_precision(told_of(9), best.low)
    assert not rule_for_precision(told_of(9), best.low + 1e-9)


def test_clips_that_are_alike_are_less_evidence() -> None:
    """Nine in ten are good both times: of each video, or of each nine in ten videos all."""
    apart, alike = (
        Predictions(
            [Labelled(clip_key(f"v{v}", n), f"v{v}", 5.0 if bad != 0 else 1.0) for v, n, bad in rows],
            np.full(400, 0.8),
            np.ones(400),
        )
        for rows in (
            [(v, n, n) for v in range(40) for n in range(10)],
            [(v, n, v % 10) for v in range(40) for n in range(10)],
        )
    )
    assert rule_for_precision(apart, 0.86)
    assert not rule_for_precision(alike, 0.86)


def test_a_fold_is_decided_on_by_the_rule_of_the_others() -> None:
    told = told_of(10)
    folds = np.array([int(clip.video_id[1:]) % 4 for clip in told.clips])
    found = decide_by_others(told, folds, lambda others: rule_for_precision(others, 0.8))
    for fold in range(4):
        rule = rule_for_precision(told.some(folds != fold), 0.8)
        assert rule
        assert np.array_equal(found.kept[folds == fold], rule.keeps(told)[folds == fold])
    assert found.ruled.all()
    nothing = decide_by_others(told, folds, lambda _: None)
    assert not nothing.kept.any()
    assert not nothing.ruled.any()


@given(st.floats(0.05, 0.9), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_a_rule_for_a_share_keeps_no_more(target: float, seed: int) -> None:
    told = told_of(seed, videos=10, strength=1.0)
    rule = rule_for_share(told, target)
    assert rule
    assert 0.8 * target - 0.02 <= rule.keeps(told).mean() <= target


def test_intervals_hold_the_truth_and_are_wider_than_clips_alone_would_have_it() -> None:
    few, many = area_under_roc(told_of(5, videos=10)), area_under_roc(told_of(6, videos=200))
    for found in (few, many):
        assert found.low is not None
        assert found.high is not None
        assert found.value is not None
        assert found.low <= found.value <= found.high
    assert few.high - few.low > many.high - many.low  # type: ignore[operator]
    assert few.low <= many.value <= few.high  # type: ignore[operator]


def test_what_is_of_few_videos_has_no_interval_and_what_is_never_otherwise_has_a_wide_one() -> None:
    told = told_of(5, videos=20)
    one = told.videos == "v3"
    found = share(told.good, one, told.videos)
    assert found.value == pytest.approx(told.good[one].mean(), abs=1e-4)
    assert (found.low, found.high) == (None, None)
    every, none = np.ones(len(one), bool), np.zeros(len(one), bool)
    for hit, value, low, high in ((every, 1.0, 0.8389, 1.0), (none, 0.0, 0.0, 0.1611)):
        found = share(hit, every, told.videos)
        assert (found.value, found.low, found.high) == (value, low, high)
    # Of twenty videos, but all that is bad is in one.
    narrow = Predictions(
        [clip if clip.video_id == "v3" else Labelled(clip.key, clip.video_id, 5.0) for clip in told.clips],
        told.quality,
        told.confidence,
    )
    assert area_under_roc(narrow).value is not None
    assert area_under_roc(narrow).low is None


def test_a_difference_is_of_the_same_videos_and_shown_only_where_its_interval_leaves_0_out() -> None:
    told = told_of(5, videos=30)
    rng = np.random.default_rng(0)
    same = Predictions(told.clips, np.clip(told.quality + rng.normal(0, 0.01, 300), 0, 1), told.confidence)
    poor = Predictions(told.clips, rng.random(300), told.confidence)
    little, much = difference_of_areas(told, same), difference_of_areas(told, poor)
    assert little.low is not None
    assert little.high is not None
    assert little.low <= 0 <= little.high
    assert little.high - little.low < 0.02
    assert much.low is not None
    assert much.low > 0
    none = difference_of_areas(told, told)
    assert (none.value, none.low, none.high) == (0.0, 0.0, 0.0)

    def compared(difference: Measured) -> Comparison:
        auc = {"scores": area_under_roc(told), "resnet18": area_under_roc(poor)}
        return Comparison(auc, {("resnet18", "scores"): difference}, {}, {}, 300, 30, 3, shuffled=False)

    assert verdict(compared(little)) == "no difference shown between scores and resnet18"
    assert verdict(compared(none)) == "no difference shown between scores and resnet18"
    assert verdict(compared(much)) == "scores tells good from bad best"


def test_the_area_of_a_draw_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    quality, good = rng.integers(0, 9, 200) / 8, rng.random(200) < 0.4
    weights = rng.integers(0, 4, 200).astype(float)
    theirs = roc_auc_score(good, quality, sample_weight=weights)
    assert _area_of_draw(quality, good, ~good)(weights) == pytest.approx(theirs, abs=1e-12)


def test_what_is_not_defined_has_no_value() -> None:
    told = told_of(7, videos=3)
    nothing = np.zeros(len(told.clips), bool)
    assert precision(told, nothing).value is None
    assert recall(told, nothing).value == 0
    one_class = Predictions(told.clips[:1], told.quality[:1], told.confidence[:1])
    assert area_under_roc(one_class).value is None


def test_the_reliability_curve_counts_every_clip() -> None:
    told = told_of(8)
    curve = reliability(told)
    assert sum(at.clips for at in curve) == 400
    observed = sum(at.observed * at.clips for at in curve) / 400
    assert observed == pytest.approx(told.good.mean(), abs=1e-3)


def test_shuffled_labels_keep_the_clips_and_what_a_video_has_in_common() -> None:
    labelled = [
        Labelled(clip_key(f"v{v}", n), f"v{v}", float(v % 5 + 1)) for v in range(20) for n in range(4)
    ]
    shuffled = shuffle_labels(labelled, 0)
    assert [clip.key for clip in shuffled] == [clip.key for clip in labelled]
    assert sorted(clip.label for clip in shuffled) == sorted(clip.label for clip in labelled)
    assert [clip.label for clip in shuffled] != [clip.label for clip in labelled]
    for video in range(20):
        assert len({clip.label for clip in shuffled if clip.video_id == f"v{video}"}) == 1


def test_rgb_is_what_ffmpeg_makes_of_it() -> None:
    rng = np.random.default_rng(0)
    picture = np.empty((135, 160), np.uint8)
    picture[:90] = np.linspace(30, 220, 160)[None] + rng.integers(-5, 5, (90, 1))
    picture[90:] = np.linspace(110, 145, 45 * 160).reshape(45, 160)
    frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
    frame.colorspace, frame.color_range = 6, 1
    theirs = frame.reformat(format="rgb24", interpolation="BILINEAR").to_ndarray().astype(int)
    ours = to_rgb(torch.from_numpy(picture[None])).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs).mean() < 1.5


def test_pictures_are_of_the_middle_of_equal_parts_without_the_padding() -> None:
    frames = np.full((160, 135, 160), 128, np.uint8)
    frames[:, :90] = 16
    frames[:, :90, 40:120] = np.arange(16, 176)[:, None, None]
    pictures = Look(frames=4, width_px=20, height_px=10).take(
        ClipFrames(frames, ContentBox(40, 0, 80, 90), 10)
    )
    assert (pictures.shape, pictures.dtype) == ((4, 3, 10, 20), np.uint8)
    assert pictures[:, 0, 5, 10].tolist() == [round(place * 255 / 219) for place in (20, 60, 100, 140)]
    assert np.ptp(pictures, axis=(2, 3)).max() == 0
    short = Look(frames=4).take(ClipFrames(frames[:1], ContentBox(0, 0, 160, 90), 10))
    assert short.shape == (4, 3, 90, 160)
