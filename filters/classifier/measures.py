"""How good a classifier is, with intervals that know that clips of one video are alike.

Intervals are percentiles of a bootstrap that draws whole videos (Davison & Hinkley 1997, section 3.8).
`scipy.stats.bootstrap` has no place for a draw that lacks one of the classes, of which there is no ROC:
its interval is then not a number. So the draws are made here, and those are left out.

Of fewer than three videos no draw can tell what others would be like, and there is no interval. Where a
share is 0 or 1 in every video, every draw says the same; the interval is then that of Wilson (1927), as
if each video were one clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from filters.labels import Labelled
from shards.settings import Block

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LEVEL = 0.95
MIN_VIDEOS = 3
"""A figure of clips of fewer videos has no interval."""

_DRAWS = 500
_DECIMALS = 4
_BINS = 10


class Measured(Block):
    """A figure and its 95% interval; None where nothing can be said."""

    value: float | None
    low: float | None
    high: float | None


class Bin(Block):
    """A point of the reliability curve: what was predicted, what was so, and of how many clips."""

    predicted: float
    observed: float
    clips: int


@dataclass(frozen=True)
class Predictions:
    """What a classifier said of labelled clips that it had not learned from.

    Attributes:
        clips: the clips, with their labels.
        quality: of each, `[clips]`.
        confidence: of each, `[clips]`.
    """

    clips: Sequence[Labelled]
    quality: Floats
    confidence: Floats

    def some(self, which: Mask) -> Predictions:
        """Those of some clips alone.

        Args:
            which: `[clips]`.
        """
        clips = [clip for clip, taken in zip(self.clips, which.tolist(), strict=True) if taken]
        return Predictions(clips, self.quality[which], self.confidence[which])

    @cached_property
    def decided(self) -> Mask:
        """Which clips are labelled good or bad."""
        return np.array([clip.good is not None for clip in self.clips], bool)

    @cached_property
    def good(self) -> Mask:
        """Which clips are labelled good."""
        return np.array([bool(clip.good) for clip in self.clips], bool)

    @cached_property
    def videos(self) -> npt.NDArray[np.str_]:
        """The video of each clip."""
        return np.array([clip.video_id for clip in self.clips], str)


def area_under_roc(told: Predictions, seed: int = 0) -> Measured:
    """How often a good clip has a higher quality than a bad one: 0.5 is chance."""
    from sklearn.metrics import roc_auc_score

    decided, good = told.decided, told.good
    area = _area_of_draw(told.quality, decided & good, decided & ~good)
    found = by_video(area, told.videos, (decided & good, decided & ~good), seed)
    if found.value is None:
        return found
    value = _rounded(float(roc_auc_score(good[decided], told.quality[decided])))
    return found.model_copy(update={"value": value})


def difference_of_areas(told: Predictions, other: Predictions, seed: int = 0) -> Measured:
    """By how much the area of `told` is larger than that of `other`, of the same clips.

    Both are of the same draws of videos, so what makes a video hard for both is not taken for a difference.
    """
    good, bad = told.decided & told.good, told.decided & ~told.good
    one, two = (_area_of_draw(each.quality, good, bad) for each in (told, other))
    return by_video(
        lambda weights: one(weights) - two(weights), told.videos, (good, bad), seed, is_share=False
    )


def precision(told: Predictions, kept: Mask, seed: int = 0) -> Measured:
    """Of the kept clips that are labelled good or bad, the share of good ones."""
    return share(told.good, told.decided & kept, told.videos, seed)


def recall(told: Predictions, kept: Mask, seed: int = 0) -> Measured:
    """Of the good clips, the share of those that are kept."""
    return share(kept, told.good, told.videos, seed)


def reliability(told: Predictions) -> list[Bin]:
    """How often what was called good with some probability was good, by bins of equal width."""
    from sklearn.calibration import calibration_curve

    good, quality = told.good[told.decided], told.quality[told.decided]
    if not len(good):
        return []
    observed, predicted = calibration_curve(good, quality, n_bins=_BINS)
    # Scikit-learn's bins: a value on an edge belongs to the one below.
    places = np.searchsorted(np.linspace(0, 1, _BINS + 1)[1:-1], quality)
    counts = np.bincount(places, minlength=_BINS)
    return [
        Bin(predicted=_rounded(p), observed=_rounded(o), clips=int(count))
        for p, o, count in zip(predicted, observed, counts[counts > 0], strict=True)
    ]


def share(hit: Mask, of: Mask, videos: npt.NDArray[np.str_], seed: int = 0) -> Measured:
    """The share of `of` that is `hit`."""

    def ratio(weights: Floats) -> float:
        total = weights[of].sum()
        return float(weights[of & hit].sum() / total) if total else float("nan")

    return by_video(ratio, videos, (of,), seed)


def by_video(
    statistic: Callable[[Floats], float],
    videos: npt.NDArray[np.str_],
    of: Sequence[Mask],
    seed: int = 0,
    *,
    is_share: bool = True,
) -> Measured:
    """A statistic of weighted clips, with its interval over draws of videos.

    Args:
        statistic: of the weights of clips, `[clips]`; not a number where it is not defined.
        of: the clips that it hangs on, `[clips]` each; it is not defined without some of every mask.
        is_share: whether it lies in 0 to 1; one that is 0 or 1 in every draw then has Wilson's interval.
    """
    value = statistic(np.ones(len(videos)))
    if np.isnan(value):
        return Measured(value=None, low=None, high=None)
    carrying = min(len(np.unique(videos[mask])) for mask in of)
    if carrying < MIN_VIDEOS:
        return Measured(value=_rounded(value), low=None, high=None)
    names, place = np.unique(videos, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(_DRAWS):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        drawn.append(statistic(times[place].astype(np.float64)))
    found = [figure for figure in drawn if not np.isnan(figure)]
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if is_share and value in (0.0, 1.0) and low == high:
        low, high = _wilson(int(value) * carrying, carrying)
    return Measured(value=_rounded(value), low=_rounded(low), high=_rounded(high))


def _wilson(hits: int, of: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(hits, of).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def _area_of_draw(quality: Floats, good: Mask, bad: Mask) -> Callable[[Floats], float]:
    """The area under the ROC of weighted clips, as the share of pairs in order (Mann & Whitney 1947).

    It is what scikit-learn's is, and a hundredth of its time: the clips are sorted once for all draws.
    """
    values, place = np.unique(quality, return_inverse=True)

    def area(weights: Floats) -> float:
        of_good, of_bad = (np.bincount(place[of], weights[of], len(values)) for of in (good, bad))
        pairs = of_good.sum() * of_bad.sum()
        if not pairs:
            return float("nan")
        below = np.cumsum(of_bad) - of_bad / 2  # ties count by half
        return float(of_good @ below / pairs)

    return area


def _rounded(value: float) -> float:
    return round(float(value), _DECIMALS)
