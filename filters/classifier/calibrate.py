"""From logits to a probability that may be taken at its word, and how sure it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.25, 20.0

SCORE_DECIMALS = 4
"""What lies behind hangs on the order in which a machine sums; the rule's thresholds have as many."""


def fit_temperature(logits: Floats, good: npt.NDArray[np.bool_]) -> float:
    """The temperature by which logits are divided so that the likelihood of the labels is greatest.

    Guo et al. 2017, section 4.2, on clips that nothing was learned from; the search is over the logarithm,
    where the likelihood has one peak. It lies in 0.25 to 20: a validation set that happens to be told apart
    without a fault would ask for certainty.

    Args:
        logits: of clips, `[clips]`.
    """
    from scipy.optimize import minimize_scalar

    lowest, highest = np.log(_MIN_TEMPERATURE), np.log(_MAX_TEMPERATURE)
    found = minimize_scalar(
        lambda log: nll(logits, good, float(np.exp(log))), bounds=(lowest, highest), method="bounded"
    ).x
    # The bounded search stops short of a bound, and finds none where logits are so large that all are alike.
    best = min((lowest, float(found), highest), key=lambda log: nll(logits, good, float(np.exp(log))))
    return float(np.clip(np.exp(best), _MIN_TEMPERATURE, _MAX_TEMPERATURE))


def nll(logits: Floats, good: npt.NDArray[np.bool_], temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the labels, in nats."""
    signed = np.where(good, logits, -logits) / temperature
    return float(np.logaddexp(0, -signed).mean())


def quality(logits: Floats, temperature: float) -> Floats:
    """The probability that a clip is good, `[clips]`: the sigmoid of the mean logit of its frames.

    Args:
        logits: of frames, `[clips, N]`.
    """
    return np.round(_sigmoid(logits.mean(axis=1) / temperature), SCORE_DECIMALS)


def confidence(logits: Floats, temperature: float) -> Floats:
    """How sure the model is, `[clips]`, 0 to 1: one less the entropy, in bits, of its frames together.

    The entropy is that of the mean of the frames' probabilities (the total uncertainty of an ensemble,
    Depeweg et al. 2018, with the frames as its members). So it falls for two reasons: the frames are
    undecided, or they are decided and disagree, which `quality` alone does not show.

    Args:
        logits: of frames, `[clips, N]`.
    """
    mean = np.clip(_sigmoid(logits / temperature).mean(axis=1), 1e-12, 1 - 1e-12)
    entropy = -(mean * np.log2(mean) + (1 - mean) * np.log2(1 - mean))
    sure: Floats = np.round(np.clip(1 - entropy, 0, 1), SCORE_DECIMALS)
    return sure


def _sigmoid(logits: Floats) -> Floats:
    share: Floats = np.exp(-np.logaddexp(0, -logits))
    return share
