"""The learning rate as a function of the step alone, so that a resumed run needs no memory of it."""

from __future__ import annotations

import math

from trainer_bridge.config import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then half a cosine from the highest rate to the lowest at the last step.

    Args:
        step: from 0 to `config.steps` - 1.
    """
    high = config.learning_rate
    low = high if config.min_learning_rate is None else config.min_learning_rate
    if step < config.warmup_steps:
        return high * (step + 1) / config.warmup_steps
    descent = max(config.steps - 1 - config.warmup_steps, 1)
    return low + (high - low) * (1 + math.cos(math.pi * (step - config.warmup_steps) / descent)) / 2
