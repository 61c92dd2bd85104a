"""The decision rule: which clips are kept, by prediction and confidence.

Genie keeps clips "by prediction and confidence" and does not say how (Bruce et al. 2024, appendix
B.1). Here the rule is `quality >= q AND quality_confidence >= c`, with the q and c that do best on
labelled clips the model had not learned from. Of many thresholds one looks good by chance, and the fewer
clips it keeps, the sooner; so a rule counts by what its precision is at least, not by what it happens to
be, and c has few values to choose from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.classifier.calibrate import SCORE_DECIMALS
from filters.classifier.measures import Floats, Mask, Predictions
from shards.settings import Block

CONFIDENCES = (0.0, 0.2, 0.4, 0.6)
_STEPS = 10**SCORE_DECIMALS

MIN_KEPT_CLIPS, MIN_KEPT_VIDEOS = 10, 5
"""So many labelled clips, of so many videos, a rule keeps, or nothing is said of its precision."""

_RISK = 0.05
_DRAWS = 500
_MAX_THRESHOLDS = 200

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


@dataclass(frozen=True)
class Candidate:
    """A rule that could be chosen, and what the clips labelled good or bad say of it.

    Attributes:
        quality: the threshold.
        confidence: likewise.
        clips: how many it keeps, of how many videos.
        precision: the share of good ones among those.
        low: what the precision is at least, with a confidence of 95%.
        recall: the share of the good clips that it keeps.
    """

    quality: float
    confidence: float
    clips: int
    videos: int
    precision: float
    low: float
    recall: float


@dataclass(frozen=True)
class Decisions:
    """What rules do with clips that they were not chosen by.

    Attributes:
        kept: `[clips]`.
        ruled: `[clips]`, of which clips that is known.
    """

    kept: Mask
    ruled: Mask


def rule_for_precision(told: Predictions, target: float) -> Rule | None:
    """The rule that keeps most good clips among those whose precision is surely at least `target`.

    None if none is; `surest` tells how near the best one comes.
    """
    enough = [entry for entry in candidates(told) if entry.low >= target]
    if not enough:
        return None
    best = max(enough, key=lambda entry: (entry.recall, -entry.confidence, entry.quality))
    sure = told.quality[told.decided & (told.confidence >= best.confidence)]
    return Rule(
        quality=_between(sure, best.quality), confidence=best.confidence, target=f"precision {target:g}"
    )


def surest(told: Predictions) -> Candidate | None:
    """The candidate with the highest precision that is sure; None if there is no candidate."""
    return max(candidates(told), key=lambda entry: (entry.low, entry.recall), default=None)


def candidates(told: Predictions) -> list[Candidate]:
    """The rules that keep enough clips, of enough videos, to say something of their precision.

    `low` is the lesser of two bounds: that of Clopper & Pearson (1934), which is right however few clips
    there are and takes each for itself, and the 5% quantile of a bootstrap over videos, which knows that
    those of one video are alike.
    """
    decided, good = told.decided, told.good[told.decided]
    names, video = np.unique(told.videos[decided], return_inverse=True)
    if not good.any():
        return []
    draws = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), _DRAWS)
    found = []
    for least in CONFIDENCES:
        # Who is not sure enough is kept by no threshold.
        scores = np.where(told.confidence[decided] >= least, _in_text(told.quality[decided]), -1.0)
        thresholds = _some(np.unique(scores[scores >= 0]))
        place = np.searchsorted(thresholds, scores, side="right") - 1
        kept, hits = (
            _of_videos(video[of & (place >= 0)], place[of & (place >= 0)], (len(names), len(thresholds)))
            for of in (np.ones_like(good), good)
        )
        lows = np.minimum(_clopper_pearson(hits.sum(axis=0), kept.sum(axis=0)), _by_video(draws, hits, kept))
        found += [
            Candidate(
                quality=float(threshold),
                confidence=least,
                clips=int(kept[:, number].sum()),
                videos=int((kept[:, number] > 0).sum()),
                precision=float(hits[:, number].sum() / kept[:, number].sum()),
                low=float(lows[number]),
                recall=float(hits[:, number].sum() / good.sum()),
            )
            for number, threshold in enumerate(thresholds)
        ]
    return [entry for entry in found if entry.clips >= MIN_KEPT_CLIPS and entry.videos >= MIN_KEPT_VIDEOS]


def decide_by_others(
    told: Predictions, folds: npt.NDArray[np.intp], choose: Callable[[Predictions], Rule | None]
) -> Decisions:
    """Decide on each fold by the rule that the other folds would have given.

    A rule looks better on the clips it was chosen by than on others, so figures of a rule are of these
    decisions. Of a fold whose others give no rule nothing is known.

    Args:
        folds: of each clip, `[clips]`.
        choose: the rule for some predictions; None if there is none.
    """
    kept, ruled = np.zeros(len(folds), bool), np.zeros(len(folds), bool)
    for fold in np.unique(folds):
        rule, own = choose(told.some(folds != fold)), folds == fold
        if rule is not None:
            kept[own], ruled[own] = rule.keeps(told)[own], True
    return Decisions(kept, ruled)


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


def _some(values: Floats) -> Floats:
    """At most `_MAX_THRESHOLDS` of sorted values, evenly among them."""
    if len(values) <= _MAX_THRESHOLDS:
        return values
    chosen: Floats = values[np.linspace(0, len(values) - 1, _MAX_THRESHOLDS).round().astype(int)]
    return chosen


def _of_videos(video: npt.NDArray[np.intp], place: npt.NDArray[np.intp], shape: tuple[int, int]) -> Floats:
    """`[videos, thresholds]`: how many clips of a video are at that threshold's place or above."""
    counts = np.zeros(shape)
    np.add.at(counts, (video, place), 1)
    kept: Floats = counts[:, ::-1].cumsum(axis=1)[:, ::-1]
    return kept


def _clopper_pearson(hits: Floats, of: Floats) -> Floats:
    """The lower bound of a share at a confidence of 95%, from one side."""
    from scipy.stats import beta

    low: Floats = np.where(hits > 0, beta.ppf(_RISK, np.maximum(hits, 1), of - hits + 1), 0.0)
    return low


def _by_video(draws: npt.NDArray[np.int64], hits: Floats, kept: Floats) -> Floats:
    """The same, of draws of videos; `hits` and `kept` are `[videos, thresholds]`."""
    total = draws @ kept
    # A draw of which nothing is kept speaks for no rule.
    shares = np.divide(draws @ hits, total, out=np.zeros(total.shape), where=total > 0)
    low: Floats = np.quantile(shares, _RISK, axis=0)
    return low
