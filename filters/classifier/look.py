"""What a classifier sees of a clip: a few frames, as RGB pictures of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import PositiveInt

from filters.base import ClipFrames
from shards.settings import Block

if TYPE_CHECKING:
    from torch import Tensor

Pictures = npt.NDArray[np.uint8]
"""RGB pictures of a clip, `[N, 3, H, W]` uint8."""

# ITU-R BT.601-7: the weights of red and blue in luma, and the range of 8-bit luma and chroma.
_RED, _BLUE = 0.299, 0.114
_GREEN = 1 - _RED - _BLUE
_BLACK, _LUMA_RANGE = 16, 219
_NEUTRAL, _CHROMA_RANGE = 128, 224


class Look(Block):
    """How a clip becomes what the model sees.

    Attributes:
        frames: how many, from the middles of as many equal parts of the clip.
        width_px: of a picture; the source's picture, without its padding, is scaled to fill it. That
            bends pictures of another aspect and cuts nothing off; black bars would tell the model of
            the source's shape instead of its content.
        mean: of red, green and blue in 0 to 1, subtracted.
        std: divided by.
    """

    frames: PositiveInt = 8
    width_px: PositiveInt = 160
    height_px: PositiveInt = 90
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # ImageNet's, as torchvision's weights expect
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def take(self, clip: ClipFrames) -> Pictures:
        """The pictures of a clip, `[frames, 3, height_px, width_px]` uint8.

        A clip of fewer frames shows some of them twice.
        """
        import torch
        from torch.nn.functional import interpolate

        count = len(clip.frames)
        places = ((np.arange(self.frames) + 0.5) * count / self.frames).astype(int)
        rgb = to_rgb(torch.from_numpy(clip.frames[places]))
        x, y, width, height = clip.content_box
        rgb = rgb[..., y : y + height, x : x + width]
        if rgb.shape[-2:] != (self.height_px, self.width_px):
            rgb = interpolate(
                rgb, (self.height_px, self.width_px), mode="bicubic", align_corners=False, antialias=True
            )
        pictures: Pictures = rgb.clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
        return pictures

    def normalise(self, pictures: Tensor) -> Tensor:
        """uint8 `[..., 3, H, W]` as the model's float32, on the same device."""
        scaled = pictures.float() / 255
        mean, std = (scaled.new_tensor(value).view(3, 1, 1) for value in (self.mean, self.std))
        return (scaled - mean) / std


def to_rgb(planes: Tensor) -> Tensor:
    """I420 pictures, BT.601 limited range, as RGB `[T, 3, H, W]` float32, 0 to 1 but for rounding.

    Chroma lies between two columns and two rows of luma and is interpolated there.

    Args:
        planes: `[T, H * 3 // 2, W]` uint8.
    """
    import torch
    from torch.nn.functional import interpolate

    count, rows, width = planes.shape
    height = rows * 2 // 3
    luma = (planes[:, :height].float() - _BLACK) / _LUMA_RANGE
    chroma = planes[:, height:].reshape(count, 2, height // 2, width // 2).float()
    chroma = interpolate((chroma - _NEUTRAL) / _CHROMA_RANGE, (height, width), mode="bilinear")
    blue_less_luma, red_less_luma = chroma[:, 0] * 2 * (1 - _BLUE), chroma[:, 1] * 2 * (1 - _RED)
    green_less_luma = -(_BLUE * blue_less_luma + _RED * red_less_luma) / _GREEN
    return torch.stack([luma + red_less_luma, luma + green_less_luma, luma + blue_less_luma], dim=1)
