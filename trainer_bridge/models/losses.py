"""What a model's `loss` returns, and the mean it is made of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """A loss to minimise and what to report of it.

    Attributes:
        total: scalar with a gradient.
        parts: named scalars without one: the summands of `total`, and measures of health.
    """

    total: Tensor
    parts: dict[str, Tensor]


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """The mean of the values `[...]` that are valid (bool `[...]`); at least one is."""
    return (values * valid).sum() / valid.sum()
