"""How good a classifier is on a file of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.classifier import calibrate
from filters.classifier.artifact import Classifier
from filters.classifier.backbones import Seen
from filters.classifier.clips import Clips, OnClip
from filters.classifier.folds import hash_videos
from filters.classifier.look import Pictures
from filters.classifier.measures import (
    Bin,
    Mask,
    Measured,
    Predictions,
    area_under_roc,
    precision,
    recall,
    reliability,
    share,
)
from filters.labels import LabelFile, Labelled, label_clips
from shards.errors import UserError


@dataclass(frozen=True)
class Group:
    """What the rule does with some clips.

    Attributes:
        good: how many are labelled good; `kept_good`, how many of those are kept; likewise for bad.
        share: of the clips that are kept.
    """

    clips: int
    kept: int
    good: int
    kept_good: int
    bad: int
    kept_bad: int
    share: Measured


@dataclass(frozen=True)
class Evaluation:
    """How good a classifier is.

    Attributes:
        clips: how many it was tested on, of how many videos.
        left_out: labelled clips of videos that it was trained on, and of how many videos.
        auc: of the good against the bad clips.
        precision: of the clips that the card's rule keeps; None if the card has no rule.
        recall: likewise.
        by_label: label -> what the rule does with its clips.
        by_source: kind of source -> likewise.
        by_video: video id -> likewise.
        reliability: the reliability curve.
    """

    clips: int
    videos: int
    left_out: int
    left_out_videos: int
    auc: Measured
    precision: Measured | None
    recall: Measured | None
    by_label: dict[str, Group]
    by_source: dict[str, Group]
    by_video: dict[str, Group]
    reliability: list[Bin]


def evaluate(
    clips: Clips,
    labels: LabelFile,
    classifier: Classifier,
    sources: Mapping[str, str],
    on_clip: OnClip,
    *,
    with_trained: bool = False,
    seed: int = 0,
) -> Evaluation:
    """Test a classifier.

    Args:
        sources: video id -> the kind of source it is from.
        with_trained: test on videos that it was trained on too, which flatters it.

    Raises:
        UserError: a label is of a clip that is not there, or every one is of a video it was trained on.
    """
    labelled = label_clips(labels, clips.keys_of)
    trained = {*classifier.card.train, *classifier.card.validation}
    tested = [
        clip for clip in labelled if with_trained or not trained.intersection(hash_videos([clip.video_id]))
    ]
    if not tested:
        raise UserError(
            f"{labels.path}: all labels are of videos that the classifier was trained on; "
            "label others, or give --all"
        )
    told = predict(clips, tested, classifier, on_clip)
    rule = classifier.card.rule
    kept = rule.keeps(told) if rule else np.zeros(len(tested), bool)
    by_label = np.array([str(clip.whole_label) for clip in tested])
    by_source = np.array([sources.get(clip.video_id, "unknown") for clip in tested])
    return Evaluation(
        clips=len(tested),
        videos=len(set(told.videos.tolist())),
        left_out=len(labelled) - len(tested),
        left_out_videos=len({clip.video_id for clip in labelled}) - len(set(told.videos.tolist())),
        auc=area_under_roc(told, seed),
        precision=precision(told, kept, seed) if rule else None,
        recall=recall(told, kept, seed) if rule else None,
        by_label=_groups(told, kept, by_label, seed),
        by_source=_groups(told, kept, by_source, seed),
        by_video=_groups(told, kept, told.videos, seed),
        reliability=reliability(told),
    )


def predict(
    clips: Clips, labelled: Sequence[Labelled], classifier: Classifier, on_clip: OnClip
) -> Predictions:
    """What a classifier says of clips, sorted by key."""
    look, temperature = classifier.card.look, classifier.card.temperature
    logits = clips.see(labelled, look, frame_logits(classifier), on_clip)
    return Predictions(
        labelled, calibrate.quality(logits, temperature), calibrate.confidence(logits, temperature)
    )


def frame_logits(classifier: Classifier) -> Callable[[Pictures], Seen]:
    """The function that gives the logits of a clip's pictures, `[N]`."""
    import torch

    device = next(classifier.model.parameters()).device

    def logits(pictures: Pictures) -> Seen:
        with torch.inference_mode():
            normal = classifier.card.look.normalise(torch.from_numpy(pictures).to(device))
            found: Seen = classifier.model(normal).flatten().double().cpu().numpy()
        return found

    return logits


def _groups(told: Predictions, kept: Mask, names: npt.NDArray[np.str_], seed: int) -> dict[str, Group]:
    bad = told.decided & ~told.good
    groups = {}
    for name in sorted(set(names.tolist())):
        of = names == name
        groups[name] = Group(
            clips=int(of.sum()),
            kept=int((of & kept).sum()),
            good=int((of & told.good).sum()),
            kept_good=int((of & told.good & kept).sum()),
            bad=int((of & bad).sum()),
            kept_bad=int((of & bad & kept).sum()),
            share=share(kept, of, told.videos, seed),
        )
    return groups
