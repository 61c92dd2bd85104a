"""Planes to colours, on whatever device the planes lie.

Half the bytes travel to the device. What chroma adds to red, green and blue is computed for half of the
pixels and then added to luma, in buffers that are made once: that is what it takes to be cheap on a CPU.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from shards.errors import UserError
from trainer_bridge.colour import CLIP_COLOUR, Colour

PICTURE_TYPES: Final = (torch.float32, torch.bfloat16, torch.uint8)
"""What pictures may be made of: numbers in [0, 1], or whole steps of 0 to 255."""

# ITU-R BT.601-7 and BT.709-6: the weights of red and blue in luma.
_WEIGHTS: Final = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
_CHROMA_ZERO = 128
# Sums of luma and chroma lie between -290 and 547 steps: 16 bits leave room for 32nds of a step.
_PART_BITS = 5
# A CPU converts this many pixels at once: what lies between the passes stays in the cache of a core.
_BLOCK_PIXELS = 1 << 17


class _Terms(NamedTuple):
    """A colour is `luma * y + chroma's terms + offset`, in steps."""

    luma: float
    red_cr: float
    green_cb: float
    green_cr: float
    blue_cb: float
    offset: float


def planes_to_rgb(planes: Tensor, dtype: torch.dtype = torch.float32, colour: Colour = CLIP_COLOUR) -> Tensor:
    """I420 pictures as RGB.

    Chroma is repeated over its 2x2 pixels, as libswscale's scaler `neighbor` does it. Floats are exact to
    1e-6, bfloat16 to its own precision. Steps are the exact value rounded, or the step beside it where the
    exact value is within a 25th of the middle of two: against ffmpeg's most exact conversion of all colours
    that a standard allows (`flags=neighbor+accurate_rnd+full_chroma_int`) they differ by 1 at most, and by
    0.01 on average. Against ffmpeg's bicubic chroma a picture differs by half a step on average.

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
    pixels = height * width
    flat = planes.reshape(-1, rows * width)
    rgb = torch.empty((len(flat), 3, height // 2, 2, width), dtype=dtype, device=planes.device)
    block = max(1, len(flat) if planes.is_cuda else min(len(flat), _BLOCK_PIXELS // max(pixels, 1)))
    convert = _Steps if dtype == torch.uint8 else _Floats
    blocks = convert(block, height, width, dtype, _terms(colour), planes.device)
    for first in range(0, len(flat), block):
        part = flat[first : first + block]
        chroma = part[:, pixels:].view(-1, 2, height // 2, 1, width // 2)
        luma = part[:, :pixels].view(-1, 1, height // 2, 2, width)
        blocks.convert(luma, chroma, rgb[first : first + block])
    return rgb.view(*batch, 3, height, width)


def check_type(dtype: torch.dtype) -> None:
    """Refuse what pictures cannot be made of.

    Raises:
        UserError: it is not one of `PICTURE_TYPES`.
    """
    if dtype not in PICTURE_TYPES:
        raise UserError(f"dtype: {dtype}, where pictures are float32, bfloat16 or uint8")


class _Floats:
    """Converts blocks of pictures to floats in [0, 1]."""

    def __init__(
        self, block: int, height: int, width: int, dtype: torch.dtype, terms: _Terms, device: torch.device
    ) -> None:
        self._terms = _Terms(*(term / 255 for term in terms))
        self._luma = torch.empty((block, 1, height // 2, 2, width), device=device)
        self._chroma = torch.empty((block, 2, height // 2, 1, width), device=device)
        self._less_y = torch.empty((block, 3, height // 2, 1, width), device=device)
        # What is narrower than float32 is rounded once, at the end.
        narrow = dtype != torch.float32
        self._sum = torch.empty((block, 3, height // 2, 2, width), device=device) if narrow else None

    def convert(self, luma: Tensor, chroma: Tensor, rgb: Tensor) -> None:
        n = len(rgb)
        y = self._luma[:n].copy_(luma).mul_(self._terms.luma)
        # Each sample twice, side by side: times 257 is a byte beside itself.
        wide = chroma.to(torch.int16).mul_(257).view(torch.uint8)
        less_y = _less_y(wide, self._terms, self._chroma[:n], self._less_y[:n])
        if self._sum is None:
            torch.add(y, less_y, out=rgb)
            rgb.clamp_(0, 1)
        else:
            rgb.copy_(torch.add(y, less_y, out=self._sum[:n]).clamp_(0, 1))


class _Steps:
    """Converts blocks of pictures to steps, by sums of 16-bit parts of a step.

    What becomes a whole number does so at the size of chroma, or by whole numbers alone: torch takes ten
    times as long to cut off a float as to add two numbers.
    """

    def __init__(
        self, block: int, height: int, width: int, dtype: torch.dtype, terms: _Terms, device: torch.device
    ) -> None:
        parts = 1 << _PART_BITS
        terms = terms._replace(offset=terms.offset + 0.5)  # what is cut off below is then rounded
        self._terms = _Terms(*(term * parts for term in terms))
        self._whole = int(self._terms.luma)
        self._finer = round((self._terms.luma - self._whole) * 256)
        # Rounded to the nearest, with what the rounding of `_finer` itself adds taken back at middle luma.
        self._half = 128 - round((self._finer - (self._terms.luma - self._whole) * 256) * 255 / 2)
        self._luma = torch.empty((block, 1, height // 2, 2, width), dtype=torch.int16, device=device)
        self._luma_finer = torch.empty_like(self._luma)
        self._chroma = torch.empty((block, 2, height // 2, 1, width // 2), device=device)
        self._less_y = torch.empty((block, 3, height // 2, 1, width // 2), device=device)
        self._sum = torch.empty((block, 3, height // 2, 2, width), dtype=torch.int16, device=device)
        assert dtype == torch.uint8

    def convert(self, luma: Tensor, chroma: Tensor, rgb: Tensor) -> None:
        n = len(rgb)
        y = self._luma[:n].copy_(luma)
        # 255 * 256 is more than 16 bits hold, the part behind the point of 32 * 255 / 219 times that is not.
        finer = torch.mul(y, self._finer, out=self._luma_finer[:n]).add_(self._half).bitwise_right_shift_(8)
        y.mul_(self._whole).add_(finer)
        less_y = _less_y(chroma, self._terms, self._chroma[:n], self._less_y[:n]).round_()
        # Twice side by side, as the halves of a number of 32 bits.
        wide = less_y.to(torch.int32).bitwise_and_(0xFFFF).mul_(0x10001).view(torch.int16)
        total = torch.add(y, wide, out=self._sum[:n])
        rgb.copy_(total.bitwise_right_shift_(_PART_BITS).clamp_(0, 255))


def _less_y(chroma: Tensor, terms: _Terms, floats: Tensor, out: Tensor) -> Tensor:
    """What chroma adds to luma: `[n, 3, H / 2, 1, W]`, into `out`."""
    cb, cr = floats.copy_(chroma).sub_(_CHROMA_ZERO).unbind(1)
    red, green, blue = out.unbind(1)
    torch.mul(cr, terms.red_cr, out=red)
    torch.mul(cb, terms.green_cb, out=green).add_(cr, alpha=terms.green_cr)
    torch.mul(cb, terms.blue_cb, out=blue)
    return out.add_(terms.offset)


def _terms(colour: Colour) -> _Terms:
    """Cb = (B - Y) / (2 - 2 * BLUE) and Cr = (R - Y) / (2 - 2 * RED), solved for R, G and B.

    The ranges are those of ITU-T H.273 for 8 bits.
    """
    red, blue = _WEIGHTS[colour.matrix]
    green = 1 - red - blue
    luma, chroma = (1.0, 1.0) if colour.full_range else (255 / 219, 255 / 224)
    red_cr, blue_cb = (2 - 2 * red) * chroma, (2 - 2 * blue) * chroma
    offset = 0.0 if colour.full_range else -16 * luma
    return _Terms(luma, red_cr, -blue * blue_cb / green, -red * red_cr / green, blue_cb, offset)
