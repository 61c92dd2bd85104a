"""Which backbone learns most from the labels there are, on the same folds; and is it worth its cost?

Beside the backbones stands a baseline that sees no picture: a logistic regression on the scores that
the cheap scorers have measured anyway. A classifier that is no better than that is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from filters.classifier.backbones import make_backbone, on_threads
from filters.classifier.clips import Clips
from filters.classifier.decide import decide_by_others
from filters.classifier.folds import make_folds
from filters.classifier.measures import (
    Measured,
    Predictions,
    area_under_roc,
    difference_of_areas,
    precision,
    share,
)
from filters.classifier.settings import TrainSettings
from filters.classifier.train import Progress, choose_rule, cross_validate
from filters.labels import LabelFile, Labelled, check_enough, label_clips
from shards.errors import UserError

BASELINE = "scores"


@dataclass(frozen=True)
class Comparison:
    """How well each contender tells good clips from bad ones.

    Attributes:
        auc: contender -> area under the ROC, cross-validated by video.
        differences: (contender, other) -> by how much the area of the first is larger, over the same draws
            of videos. Each pair is there once, and the baseline is the other one.
        precision: contender -> by the rules that its predictions give, each without the fold it decides on.
        recall: likewise.
        clips: good and bad ones.
        shuffled: whether the labels were shuffled among the videos, so that there was nothing to learn.
    """

    auc: dict[str, Measured]
    differences: dict[tuple[str, str], Measured]
    precision: dict[str, Measured]
    recall: dict[str, Measured]
    clips: int
    videos: int
    folds: int
    shuffled: bool


def compare(
    clips: Clips,
    labels: LabelFile,
    contenders: Sequence[TrainSettings],
    scores: Mapping[str, Mapping[str, float]],
    progress: Progress,
    *,
    shuffled: bool = False,
) -> Comparison:
    """Cross-validate each contender and the baseline, which is left out where there are no scores.

    Args:
        contenders: one for each backbone, with the same seed and number of folds.
        scores: clip's key -> its scores by name; every clip has the same ones.
        shuffled: shuffle the labels among the videos first; every area should then be about 0.5.

    Raises:
        UserError: the labels are too few, or a labelled clip was not measured.
    """
    labelled = label_clips(labels, clips.keys_of)
    first, where = contenders[0], str(labels.path)
    if shuffled:
        labelled = shuffle_labels(labelled, first.seed)
    check_enough(labelled, where)
    folds = make_folds(labelled, first.folds, first.seed, where)
    told = {BASELINE: _by_scores(labelled, folds, scores)} if scores else {}
    with on_threads(first.threads):
        for settings in contenders:
            told |= _cross_validated(clips, labelled, folds, settings, progress)
    ruled = {name: _at_rule(predictions, folds, first) for name, predictions in told.items()}
    decided = [clip for clip in labelled if clip.good is not None]
    return Comparison(
        auc={name: area_under_roc(predictions, first.seed) for name, predictions in told.items()},
        differences={
            (name, other): difference_of_areas(told[name], told[other], first.seed)
            for other, name in combinations(told, 2)
        },
        precision={name: found[0] for name, found in ruled.items()},
        recall={name: found[1] for name, found in ruled.items()},
        clips=len(decided),
        videos=len({clip.video_id for clip in decided}),
        folds=int(folds.max()) + 1,
        shuffled=shuffled,
    )


def _at_rule(
    told: Predictions, folds: npt.NDArray[np.intp], settings: TrainSettings
) -> tuple[Measured, Measured]:
    """Precision and recall."""
    found = decide_by_others(told, folds, lambda others: choose_rule(others, settings))
    return (
        precision(told, found.kept, settings.seed),
        share(found.kept, told.good & found.ruled, told.videos, settings.seed),
    )


def _cross_validated(
    clips: Clips,
    labelled: Sequence[Labelled],
    folds: npt.NDArray[np.intp],
    settings: TrainSettings,
    progress: Progress,
) -> dict[str, Predictions]:
    backbone = make_backbone(settings)

    def on_clip(done: int, total: int) -> None:
        progress.step(f"{backbone.name}: look", done, total, "clips")

    seen = clips.see(labelled, backbone.look, backbone.see, on_clip)
    return {backbone.name: cross_validate(backbone, seen, labelled, folds, settings, progress).told}


def shuffle_labels(labelled: Sequence[Labelled], seed: int) -> tuple[Labelled, ...]:
    """Give each video the labels of another one, in turn; what a video's clips have in common stays."""
    of_video: dict[str, list[float]] = {}
    for clip in labelled:
        of_video.setdefault(clip.video_id, []).append(clip.label)
    videos = sorted(of_video)
    order = np.random.default_rng(seed).permutation(len(videos))
    given = {video: of_video[videos[place]] for video, place in zip(videos, order, strict=True)}
    taken = dict.fromkeys(videos, 0)
    shuffled = []
    for clip in labelled:
        labels, turn = given[clip.video_id], taken[clip.video_id]
        taken[clip.video_id] += 1
        shuffled.append(Labelled(clip.key, clip.video_id, labels[turn % len(labels)]))
    return tuple(shuffled)


def _by_scores(
    labelled: Sequence[Labelled], folds: npt.NDArray[np.intp], scores: Mapping[str, Mapping[str, float]]
) -> Predictions:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for clip in labelled:
        if clip.key not in scores:
            raise UserError(
                f"clip {clip.key} was not measured; `genieset ingest` does, then `genieset curate`"
            )
    names = sorted(scores[labelled[0].key])
    table = np.array([[scores[clip.key][name] for name in names] for clip in labelled])
    good = np.array([bool(clip.good) for clip in labelled])
    decided = np.array([clip.good is not None for clip in labelled])
    quality = np.zeros(len(labelled))
    for fold in range(int(folds.max()) + 1):
        learn, test = decided & (folds != fold), folds == fold
        if not test.any():
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        model.fit(table[learn], good[learn])
        quality[test] = model.predict_proba(table[test])[:, 1]
    return Predictions(labelled, quality, np.ones(len(labelled)))
