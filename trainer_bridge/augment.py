"""Changes of colour and side, each window its own, all of its frames the same.

What is done to a window is a function of the random number of its position in the order alone: the same on
any number of ranks, with any workers, and after any restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shards.errors import UserError
from trainer_bridge.order import next_draw

# ITU-R BT.601-7: the weights of red, green and blue in luma.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Augment:
    """How much windows are changed; by default not at all.

    Attributes:
        brightness: the picture is multiplied by 1 - this to 1 + this; 0 to 1.
        contrast: so is its distance from the window's mean luma.
        saturation: so is its distance from grey.
        flip: the share of windows that are mirrored, left and right. Not for models of actions, to which
            left and right are not the same.

    Raises:
        UserError: a number is not from 0 to 1.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    flip: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise UserError(f"augment: {name} {value} is not from 0 to 1")

    def __call__(self, video: Tensor, draws: Sequence[int]) -> Tensor:
        """Change windows.

        Args:
            video: float RGB `[B, T, 3, H, W]` in [0, 1]; it is left as it is.
            draws: the random number of each window's position.

        Returns:
            Changed windows of the same shape and type, in [0, 1].
        """
        chosen = torch.tensor([_uniform(draw) for draw in draws], dtype=torch.float32)
        # Else the host would wait until the device has done all that it was given before.
        chosen = chosen.to(video.device, video.dtype, non_blocking=True)[:, :, None, None, None, None]
        weights = torch.tensor(_LUMA).to(video.device, video.dtype, non_blocking=True)[:, None, None]
        if self.brightness:
            video = video * (1 + self.brightness * (2 * chosen[:, 0] - 1))
        if self.contrast:
            mean = (video * weights).sum(dim=2).mean(dim=(1, 2, 3))[:, None, None, None, None]
            video = mean + (video - mean) * (1 + self.contrast * (2 * chosen[:, 1] - 1))
        if self.saturation:
            grey = (video * weights).sum(dim=2, keepdim=True)
            video = grey + (video - grey) * (1 + self.saturation * (2 * chosen[:, 2] - 1))
        if self.flip:
            video = torch.where(chosen[:, 3] < self.flip, video.flip(-1), video)
        return video.clamp(0, 1)


def _uniform(draw: int) -> list[float]:
    """A number from [0, 1) for each kind of change."""
    numbers = []
    for _ in range(4):
        draw = next_draw(draw)
        numbers.append((draw >> 11) / 2**53)
    return numbers
