"""What a training of the classifier is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from shards.settings import Block

Share = Annotated[float, Field(gt=0, lt=1)]


class TrainSettings(Block):
    """The settings of a training.

    Attributes:
        backbone: `resnet18`, trained as a whole (Bruce et al. 2024, appendix B.1), or `open_clip`, a
            logistic regression on the image features of a frozen model (Baker et al. 2022, VPT).
        frames: looked at in each clip.
        size_px: (width, height) of the pictures that `resnet18` sees; `open_clip` has its model's own.
        init: of `resnet18`: a state dict to begin with (`.safetensors`, or torch's `.pth`), such as
            torchvision's weights of ImageNet; without it, it begins with random weights.
        model: of `open_clip`: the name of one of its models, or a JSON file in its format.
        weights: of `open_clip`: a tag of that model's weights, which is downloaded, or a local file.
        epochs: at most; training stops when the loss on validation has not fallen for `patience` epochs.
        folds: into which the videos are split, at most; fewer where the labels are of few videos.
        target_precision: the least share of good clips among the kept, at a confidence of 95%.
        keep_share: instead: the share of the labelled clips that the rule keeps.
        threads: of torch on the CPU. It is part of the settings, since sums of other parts are other sums,
            and threads that wait for each other on a busy machine take many times as long.
        device: `cpu`, `cuda` or `cuda:1`...
    """

    backbone: Literal["resnet18", "open_clip"] = "resnet18"
    frames: PositiveInt = 8
    size_px: tuple[PositiveInt, PositiveInt] = (160, 90)
    init: Path | None = None
    model: str = "ViT-B-32"
    weights: str | None = None
    epochs: PositiveInt = 60
    patience: PositiveInt = 10
    batch_clips: PositiveInt = 16
    learning_rate: PositiveFloat = 5e-4
    weight_decay: PositiveFloat = 0.05
    folds: Annotated[int, Field(ge=3)] = 5
    seed: NonNegativeInt = 0
    target_precision: Share = 0.9
    keep_share: Share | None = None
    threads: PositiveInt = 1
    device: str = "cpu"
