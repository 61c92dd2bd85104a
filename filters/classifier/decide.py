"""The decision rule: which clips are kept, by prediction and confidence.

Genie keeps clips "by prediction and confidence" and does not say how (Bruce et al. 2024, appendix
B.1). Here the rule is `quality >= q AND quality_confidence >= c`, with the q and c that do best on
labelled clips the model had not learned from. c has few values to choose from, since each choice makes
the figures look a little better than they are.
"""

from __future__ import annotations

import numpy as np

from filters.classifier.calibrate import SCORE_DECIMALS
from filters.classifier.measures import Floats, Mask, Predictions
from shards.settings import Block

CONFIDENCES = (0.0, 0.2, 0.4, 0.6)
_STEPS = 10**SCORE_DECIMALS

# A surer rule may keep a little less than was asked for.
_NEAR_SHARE = 0.9


class Rule(Block):
    """Which clips are kept.

    Attributes:
        quality: the least that a kept clip has.
        confidence: likewise.
        target: what it was chosen for.
    """

    quality: float
    confidence: float
    target: str

    @property
    def sql(self) -> str:
        """The predicate on the scores of `filters.quality`."""
        return f"quality >= {self.quality:g} AND quality_confidence >= {self.confidence:g}"

    def keeps(self, told: Predictions) -> Mask:
        """Which clips it keeps."""
        return (told.quality >= self.quality) & (told.confidence >= self.confidence)


def rule_for_precision(told: Predictions, target: float) -> Rule | None:
    """The rule that keeps most good clips among those whose precision is at least `target`.

    None if no rule gets there.
    """
    from sklearn.metrics import precision_recall_curve

    best: tuple[float, float, float] | None = None
    decided = told.decided
    for least in CONFIDENCES:
        surely = told.confidence[decided] >= least
        # Who is not sure enough is kept by no threshold.
        scores = np.where(surely, _in_text(told.quality[decided]), -1.0)
        precisions, recalls, thresholds = precision_recall_curve(told.good[decided], scores)
        for precision, recall, threshold in zip(precisions, recalls, thresholds, strict=False):
            enough = threshold >= 0 and precision >= target and recall > 0
            if enough and (best is None or (recall, -least, threshold) > best):
                best = (float(recall), -least, float(threshold))
    if best is None:
        return None
    least, threshold = -best[1], best[2]
    sure = told.quality[decided & (told.confidence >= least)]
    return Rule(quality=_between(sure, threshold), confidence=least, target=f"precision {target:g}")


def rule_for_share(told: Predictions, target: float) -> Rule | None:
    """The most precise rule that keeps at most this share of the labelled clips, and not much less.

    None if even the best clips are more than that.
    """
    rules = []
    for least in CONFIDENCES:
        scores = np.where(told.confidence >= least, _in_text(told.quality), -1.0)
        for threshold in np.unique(scores[scores >= 0]):
            between = _between(told.quality[told.confidence >= least], float(threshold))
            rule = Rule(quality=between, confidence=least, target=f"share {target:g}")
            kept = rule.keeps(told)
            if kept.mean() <= target:
                of = kept & told.decided
                precision = told.good[of].mean() if of.any() else 0.0
                rules.append((float(kept.mean()), float(precision), -least, rule))
                break  # a higher threshold keeps less
    if not rules:
        return None
    most = max(share for share, *_ in rules)
    near = [entry for entry in rules if entry[0] >= _NEAR_SHARE * most]
    return max(near, key=lambda entry: (entry[1], entry[0], entry[2]))[3]


def _between(quality: Floats, threshold: float) -> float:
    """The middle between a threshold and the next clip below it: it decides the same with most to spare."""
    below = float(np.max(quality[quality < threshold], initial=0.0))
    middle = float(np.ceil((below + threshold) / 2 * _STEPS) / _STEPS)
    return min(middle, threshold)


def _in_text(quality: Floats) -> Floats:
    """The nearest numbers that a rule's text can hold; scores are such numbers already."""
    told: Floats = np.round(quality * _STEPS) / _STEPS
    return told
