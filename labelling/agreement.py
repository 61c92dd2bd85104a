"""How far labellers agree: Krippendorff's alpha for ordered labels.

After Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011). Written out here, since the
package of that name is under the GPL; the tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

LABELS = (1, 2, 3, 4, 5)

MIN_CLIPS = 10
"""Of fewer clips with two labels alpha is not shown: five alike and one apart give 0."""


@dataclass(frozen=True)
class Agreement:
    """How far labellers agree.

    Attributes:
        alpha: 1 is full agreement, 0 what chance would give, below 0 worse than that; None where no clip
            has two labels, or where all of them are the same label, so that there is nothing to tell apart.
        clips: how many clips have labels of two labellers or more.
    """

    alpha: float | None
    clips: int

    @property
    def shown(self) -> float | None:
        """Alpha, where there are clips enough to speak of it."""
        return self.alpha if self.clips >= MIN_CLIPS else None


def agreement(labels: Iterable[tuple[str, int]]) -> Agreement:
    """Ordinal alpha over (key, label) pairs: one a labeller and clip, labels 1 to 5."""
    counts: dict[str, list[int]] = {}
    for key, label in labels:
        counts.setdefault(key, [0] * len(LABELS))[label - LABELS[0]] += 1
    twice = [of_clip for of_clip in counts.values() if sum(of_clip) >= 2]
    if not twice:
        return Agreement(None, 0)
    return Agreement(_ordinal_alpha(np.array(twice, np.float64)), len(twice))


def _ordinal_alpha(counts: np.ndarray) -> float | None:
    """Alpha of [N clips, V labels] counts, at least two a clip."""
    of_clip = counts.sum(axis=1)
    # Pairs of labels within a clip, each clip weighing as much as it has labels.
    observed = (counts / (of_clip - 1)[:, None]).T @ counts - np.diag(
        (counts / (of_clip - 1)[:, None]).sum(0)
    )
    totals = counts.sum(axis=0)
    expected = (np.outer(totals, totals) - np.diag(totals)) / (totals.sum() - 1)
    # Two labels are as far apart as there are labels between them, half of their own counted in.
    middles = np.cumsum(totals) - totals / 2
    distances = (middles[:, None] - middles[None, :]) ** 2
    by_chance = float((expected * distances).sum())
    return 1 - float((observed * distances).sum()) / by_chance if by_chance else None
