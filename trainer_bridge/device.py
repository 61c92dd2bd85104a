"""Planes to colours, on whatever device the planes lie.

Half the bytes travel to the device. What chroma adds to red, green and blue is computed once for each
sample of it and then added to luma, so that a pixel costs three additions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shards.errors import UserError
from trainer_bridge.colour import CLIP_COLOUR, Colour

PICTURE_TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.uint8)
"""What `planes_to_rgb` makes: floats in [0, 1], or whole numbers from 0 to 255."""

# ITU-R BT.601-7 and BT.709-6: the weights of red and blue in luma.
_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
# ITU-T H.273, 8 bits: zero and steps of luma, and steps of chroma, whose zero is 128.
_LIMITED, _FULL = (16, 219, 224), (0, 255, 255)
_CHROMA_ZERO = 128

_PARTS = 32
# What is computed at once on a CPU: between its passes it stays in the cache of one core.
_BLOCK_PIXELS = 1 << 17


def planes_to_rgb(planes: Tensor, dtype: torch.dtype = torch.float32, colour: Colour = CLIP_COLOUR) -> Tensor:
    """I420 pictures as RGB.

    Chroma is repeated over its 2x2 pixels, as libswscale's scaler `neighbor` does: a model sees no pixel
    that the encoder did not.

    Args:
        planes: `[..., H * 3 // 2, W]` uint8: H rows of luma, then the packed planes of Cb and Cr; H and W
            are even.
        dtype: one of `PICTURE_TYPES`.
        colour: what the planes' numbers mean.

    Returns:
        `[..., 3, H, W]` of `dtype`, on the device of `planes`.

    Raises:
        UserError: another `dtype`.
    """
    check_type(dtype)
    *batch, rows, width = planes.shape
    height = rows * 2 // 3
    flat = planes.reshape(-1, rows * width)
    rgb = torch.empty((len(flat), 3, height, width), dtype=dtype, device=planes.device)
    block = max(len(flat) if planes.is_cuda else _BLOCK_PIXELS // (height * width), 1)
    convert = _whole_numbers if dtype == torch.uint8 else _floats
    for first in range(0, len(flat), block):
        part = flat[first : first + block]
        luma = part[:, : height * width].view(-1, height // 2, 2, width)
        chroma = _widened(part[:, height * width :]).view(-1, 2, height // 2, 1, width)
        into = rgb[first : first + block].view(-1, 3, height // 2, 2, width)
        convert(luma, chroma, colour, into)
    return rgb.view(*batch, 3, height, width)


def check_type(dtype: torch.dtype) -> None:
    """Refuse what pictures cannot be.

    Raises:
        UserError: it is not one of `PICTURE_TYPES`.
    """
    if dtype not in PICTURE_TYPES:
        known = ", ".join(str(one).removeprefix("torch.") for one in PICTURE_TYPES)
        raise UserError(f"dtype: there are no pictures of {dtype}; choose one of {known}")


def _widened(chroma: Tensor) -> Tensor:
    """Each byte twice: as the halves of a number of 16 bits, which is ten times as fast as copying them."""
    return chroma.to(torch.int16).mul_(257).view(torch.uint8)


def _floats(luma: Tensor, chroma: Tensor, colour: Colour, into: Tensor) -> None:
    """Luma `[N, H / 2, 2, W]` and chroma `[N, 2, H / 2, 1, W]` as `[N, 3, H / 2, 2, W]` in [0, 1]."""
    zero, luma_steps, _ = _FULL if colour.full_range else _LIMITED
    y = luma.to(torch.float32).sub_(zero).div_(luma_steps)
    for channel, less_y in enumerate(_less_luma(chroma, colour)):
        if into.dtype == y.dtype:
            torch.add(y, less_y, out=into[:, channel])
        else:
            into[:, channel] = y + less_y
        into[:, channel].clamp_(0, 1)


def _whole_numbers(luma: Tensor, chroma: Tensor, colour: Colour, into: Tensor) -> None:
    """As `_floats`, from 0 to 255: in 32nds of a step, which are rounded, in numbers of 16 bits.

    Sums of luma and chroma lie between -290 and 547 steps, so 16 bits leave room for 32nds. A float takes
    torch ten times as long to become a byte.
    """
    zero, luma_steps, _ = _FULL if colour.full_range else _LIMITED
    scale = _PARTS * 255 / luma_steps
    whole = int(scale)
    finer = round((scale - whole) * 256)
    y = luma.to(torch.int16)
    # Half a step more, as what is behind the point is cut off at the end.
    y = (y * finer).add_(128).bitwise_right_shift_(8).add_(y, alpha=whole)
    y.add_(_PARTS // 2 - round(zero * scale))
    for channel, less_y in enumerate(_less_luma(chroma, colour)):
        parts = y + less_y.mul_(_PARTS * 255).round_().to(torch.int16)
        into[:, channel] = parts.clamp_(0, _PARTS * 256 - 1).bitwise_right_shift_(_PARTS.bit_length() - 1)


def _less_luma(chroma: Tensor, colour: Colour) -> tuple[Tensor, Tensor, Tensor]:
    """What red, green and blue have more than luma, in shares of the highest: `[N, H / 2, 1, W]` each."""
    _, _, chroma_steps = _FULL if colour.full_range else _LIMITED
    red, blue = _WEIGHTS[colour.matrix]
    green = 1 - red - blue
    chroma = chroma.to(torch.float32).sub_(_CHROMA_ZERO).div_(chroma_steps)
    # Cb = (B - Y) / (2 - 2 * blue) and Cr = (R - Y) / (2 - 2 * red), solved for R, G and B.
    blue_less_y = chroma[:, 0] * (2 - 2 * blue)
    red_less_y = chroma[:, 1] * (2 - 2 * red)
    green_less_y = (red_less_y * -(red / green)).sub_(blue_less_y, alpha=blue / green)
    return red_less_y, green_less_y, blue_less_y
