"""What a training run is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from shards.settings import Block
from trainer_bridge.models.presets import PRESETS


class TrainConfig(Block):
    """The settings of a run; defaults are the paper's for the tokenizer where it states them.

    Attributes:
        dataset: folder or URL of a published dataset; or several, each with its weight.
        version: of the dataset; the newest by default.
        run: folder that the run's checkpoints and metrics are written to.
        model: a key of `trainer_bridge.models.presets.PRESETS`.
        batch_size: windows a step.
        steps: steps in all; a run may be continued with more.
        window: frames a window.
        where: an SQL predicate on the clips' columns; only windows of clips that it holds for are seen.
        starts: whether windows are `aligned` in their clips or begin `anywhere`.
        short: whether clips shorter than a window are left out (`drop`) or padded (`pad`).
        windows_per_visit: so many windows that lie together are seen in one batch.
        learning_rate: the highest one, reached after `warmup_steps`.
        min_learning_rate: the one that a cosine leads down to at the last step; by default
            `learning_rate`, which is no descent at all and what the paper gives for the tokenizer.
        warmup_steps: steps of linear warm-up.
        weight_decay: of AdamW, on all parameters.
        seed: of the weights and of the order of windows.
        checkpoint_every: steps between checkpoints; there is one after the last step too.
        workers: processes that read and decode; 0 does both between the steps.
        device: where the model is trained: cpu, cuda, cuda:1...
    """

    dataset: str | dict[str, PositiveFloat]
    version: PositiveInt | None = None
    run: Path
    model: str
    batch_size: PositiveInt
    steps: PositiveInt
    window: PositiveInt = 16
    where: str | None = None
    starts: Literal["aligned", "anywhere"] = "aligned"
    short: Literal["drop", "pad"] = "drop"
    windows_per_visit: PositiveInt = 1
    learning_rate: PositiveFloat = 3e-4
    min_learning_rate: NonNegativeFloat | None = None
    warmup_steps: NonNegativeInt = 10_000
    weight_decay: NonNegativeFloat = 1e-4
    seed: NonNegativeInt = 0
    checkpoint_every: PositiveInt = 1000
    workers: NonNegativeInt = 0
    device: str = "cpu"

    @field_validator("model")
    @classmethod
    def _known_model(cls, model: str) -> str:
        if model not in PRESETS:
            raise ValueError(f"there is no model {model!r}; known are {', '.join(PRESETS)}")
        return model

    @field_validator("run")
    @classmethod
    def _at_home(cls, run: Path) -> Path:
        return run.expanduser()

    @model_validator(mode="after")
    def _descending(self) -> TrainConfig:
        if self.min_learning_rate is not None and self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate {self.min_learning_rate} is above learning_rate {self.learning_rate}; "
                "give at most that"
            )
        return self
