"""Planes to colours, on whatever device the planes lie.

Half the bytes travel to the device, and the conversion, which costs a CPU more than decoding does,
is three multiplications a pixel there.
"""

from __future__ import annotations

import torch
from torch import Tensor

# ITU-R BT.601-7: the weights of red and blue in luma, and the range of 8-bit luma and chroma.
_RED, _BLUE = 0.299, 0.114
_GREEN = 1 - _RED - _BLUE
_LUMA_ZERO, _LUMA_STEPS = 16, 219
_CHROMA_ZERO, _CHROMA_STEPS = 128, 224


def i420_to_rgb(planes: Tensor) -> Tensor:
    """I420 pictures, BT.601 limited range, as RGB.

    Chroma is repeated over its 2x2 pixels: that is what swscale does unless asked for more, so a
    model sees the pixels that every other reader of the shards would show it.

    Args:
        planes: `[..., H * 3 // 2, W]` uint8: H rows of luma, then the packed planes of Cb and Cr.

    Returns:
        `[..., 3, H, W]` float32 in [0, 1], on the device of `planes`.
    """
    *batch, rows, width = planes.shape
    height = rows * 2 // 3
    flat = planes.flatten(-2).to(torch.float32)
    luma, chroma = flat[..., : height * width], flat[..., height * width :]
    y = ((luma - _LUMA_ZERO) / _LUMA_STEPS).view(*batch, 1, height, width)
    chroma = ((chroma - _CHROMA_ZERO) / _CHROMA_STEPS).view(*batch, 2, height // 2, width // 2)
    # Cb = (B - Y) / (2 - 2 * BLUE) and Cr = (R - Y) / (2 - 2 * RED), solved for R, G and B.
    blue_less_y = (2 - 2 * _BLUE) * chroma[..., 0, :, :]
    red_less_y = (2 - 2 * _RED) * chroma[..., 1, :, :]
    green_less_y = -(_RED * red_less_y + _BLUE * blue_less_y) / _GREEN
    less_y = torch.stack([red_less_y, green_less_y, blue_less_y], dim=-3)
    return (y + less_y.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)).clamp_(0, 1)
