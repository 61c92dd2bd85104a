"""Training: from labels to a classifier with its card.

The videos are split into K folds. Each fold in turn is predicted by a model that learned from K - 2
of the others and was stopped and calibrated by the last one. These predictions are of clips that no
model had learned from, all labelled clips have one, and so the decision rule and every figure of the
card can be had from few labels. Precision and recall are of decisions by rules that were chosen without
the fold they decide on. The classifier that is kept is trained once more, on all folds but
the one it is stopped and calibrated by; the figures are those of its slightly poorer siblings.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from filters.classifier import calibrate
from filters.classifier.artifact import CLASSIFIER_VERSION, Card, weights_bytes
from filters.classifier.backbones import Backbone, Lesson, Seen, make_backbone, on_threads
from filters.classifier.clips import Clips
from filters.classifier.decide import Rule, decide_by_others, rule_for_precision, rule_for_share
from filters.classifier.folds import hash_videos, make_folds
from filters.classifier.measures import (
    Measured,
    Predictions,
    area_under_roc,
    precision,
    reliability,
    share,
)
from filters.classifier.settings import TrainSettings
from filters.labels import LabelFile, Labelled, check_enough, count_labels, label_clips

if TYPE_CHECKING:
    from torch import nn

_DECIMALS = 6
_LIBRARIES = ("genieset", "torch", "torchvision", "open_clip_torch", "scikit-learn", "numpy")

# Where files lie is of no account; what was in them is the card's `start` and `shape`.
_NOT_TOLD = {"init", "model", "weights", "device"}


class Progress(Protocol):
    """Is told what a training is doing."""

    def step(self, stage: str, done: int, total: int, what: str) -> None:
        """`done` of `total` of a stage have ended, `what` the last of them."""

    def note(self, message: str) -> None:
        """Something a person should know, in one line."""


@dataclass(frozen=True)
class Trained:
    """A classifier to be saved.

    Attributes:
        weights: the bytes of its `model.safetensors`.
        told: the predictions that its figures are of.
    """

    card: Card
    weights: bytes
    told: Predictions


@dataclass(frozen=True)
class CrossValidated:
    """Predictions of labelled clips, each by a model that had not learned from its video.

    Attributes:
        told: calibrated.
        nll: of the good and bad ones, calibrated, in nats; without calibration `nll_uncalibrated`.
    """

    told: Predictions
    nll: float
    nll_uncalibrated: float


def train(clips: Clips, labels: LabelFile, settings: TrainSettings, progress: Progress) -> Trained:
    """Train, calibrate, cross-validate, and choose the rule.

    On a CPU the same labels and settings make the same bytes, on one kind of machine and with one
    number of threads.

    Raises:
        UserError: the labels are too few or of too few videos, or a file or device is not there.
    """
    labelled = label_clips(labels, clips.keys_of)
    check_enough(labelled, str(labels.path))
    folds = make_folds(labelled, settings.folds, settings.seed, str(labels.path))
    with on_threads(settings.threads):
        return _train(clips, labels, labelled, folds, settings, progress)


def _train(
    clips: Clips,
    labels: LabelFile,
    labelled: Sequence[Labelled],
    folds: npt.NDArray[np.intp],
    settings: TrainSettings,
    progress: Progress,
) -> Trained:
    backbone = make_backbone(settings)
    seen = clips.see(
        labelled, backbone.look, backbone.see, lambda done, total: progress.step("look", done, total, "clips")
    )
    found = cross_validate(backbone, seen, labelled, folds, settings, progress)
    rule = choose_rule(found.told, settings)
    count = int(folds.max()) + 1
    decided, good = found.told.decided, found.told.good
    lesson = Lesson(good, np.flatnonzero(decided & (folds != 0)), np.flatnonzero(decided & (folds == 0)))
    fitted = _fit(backbone, seen, lesson, settings, progress, "train")
    temperature = round(_temperature(backbone, fitted, seen, lesson), _DECIMALS)
    weights = weights_bytes(backbone.whole(fitted))
    card = Card(
        version=CLASSIFIER_VERSION,
        weights=hashlib.sha256(weights).hexdigest(),
        backbone=backbone.name,
        shape=backbone.shape,
        look=backbone.look,
        temperature=temperature,
        rule=rule,
        metrics=figures(found, folds, settings),
        reliability=reliability(found.told),
        labels=labels.hash,
        counts=count_labels(labelled),
        train=_videos(labelled, lesson.train),
        validation=_videos(labelled, lesson.validation),
        folds=count,
        start=started_with(settings),
        device=settings.device.partition(":")[0],
        settings=settings.model_dump(mode="json", exclude=_NOT_TOLD),
        libraries={"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES},
    )
    return Trained(card, weights, found.told)


def cross_validate(
    backbone: Backbone,
    seen: Seen,
    labelled: Sequence[Labelled],
    folds: npt.NDArray[np.intp],
    settings: TrainSettings,
    progress: Progress,
) -> CrossValidated:
    """Predict every fold by a model that learned from the others; see the module."""
    decided = np.array([clip.good is not None for clip in labelled])
    good = np.array([bool(clip.good) for clip in labelled])
    count = int(folds.max()) + 1
    quality, confidence = np.zeros(len(labelled)), np.zeros(len(labelled))
    raw, scaled = np.zeros(len(labelled)), np.zeros(len(labelled))
    for fold in range(count):
        stop = (fold + 1) % count
        learn = np.flatnonzero(decided & (folds != fold) & (folds != stop))
        lesson = Lesson(good, learn, np.flatnonzero(decided & (folds == stop)))
        fitted = _fit(backbone, seen, lesson, settings, progress, f"fold {fold + 1} of {count}")
        temperature = _temperature(backbone, fitted, seen, lesson)
        test = np.flatnonzero(folds == fold)
        logits = backbone.logits(fitted, seen[test])
        quality[test] = calibrate.quality(logits, temperature)
        confidence[test] = calibrate.confidence(logits, temperature)
        raw[test] = logits.mean(axis=1)
        scaled[test] = raw[test] / temperature
    return CrossValidated(
        Predictions(labelled, quality, confidence),
        calibrate.nll(scaled[decided], good[decided]),
        calibrate.nll(raw[decided], good[decided]),
    )


def started_with(settings: TrainSettings) -> str:
    """What a card says of the weights that a training begins with."""
    given = settings.init if settings.backbone == "resnet18" else settings.weights
    if given is None:
        return "random"
    path = Path(given)
    if not path.is_file():
        return str(given)
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def choose_rule(told: Predictions, settings: TrainSettings) -> Rule | None:
    """The rule for what the settings ask for; None if there is none."""
    if settings.keep_share is not None:
        return rule_for_share(told, settings.keep_share)
    return rule_for_precision(told, settings.target_precision)


def figures(
    found: CrossValidated, folds: npt.NDArray[np.intp], settings: TrainSettings
) -> dict[str, Measured]:
    """The figures of a card."""
    told, seed = found.told, settings.seed
    at_rule = decide_by_others(told, folds, lambda others: choose_rule(others, settings))
    measured = {
        "auc": area_under_roc(told, seed),
        "precision": precision(told, at_rule.kept, seed),
        "recall": share(at_rule.kept, told.good & at_rule.ruled, told.videos, seed),
        "kept_share": share(at_rule.kept, at_rule.ruled, told.videos, seed),
    }
    for name, value in (("nll", found.nll), ("nll_uncalibrated", found.nll_uncalibrated)):
        measured[name] = Measured(value=round(value, _DECIMALS), low=None, high=None)
    return measured


def _fit(
    backbone: Backbone,
    seen: Seen,
    lesson: Lesson,
    settings: TrainSettings,
    progress: Progress,
    stage: str,
) -> nn.Module:
    return backbone.fit(
        seen,
        lesson,
        lambda epoch, loss: progress.step(stage, epoch, settings.epochs, f"loss on validation {loss:.4f}"),
    )


def _temperature(backbone: Backbone, fitted: nn.Module, seen: Seen, lesson: Lesson) -> float:
    held_out = backbone.logits(fitted, seen[lesson.validation]).mean(axis=1)
    return calibrate.fit_temperature(held_out, lesson.good[lesson.validation])


def _videos(labelled: Sequence[Labelled], places: npt.NDArray[np.intp]) -> list[str]:
    return hash_videos([labelled[place].video_id for place in places])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # of a checkout that was never installed
        return "unknown"
