"""What the numbers of a decoded picture mean: which matrix made them of colours, and in which range."""

from __future__ import annotations

from typing import Literal, NamedTuple

from av.video.frame import VideoFrame

# ITU-T H.273, matrix_coefficients: 1 is BT.709; 5 and 6 are BT.601 with 625 and 525 lines, which decoders
# also assume of small video that says nothing (2).
_MATRICES: dict[int, Literal["bt601", "bt709"]] = {1: "bt709", 2: "bt601", 5: "bt601", 6: "bt601"}
# FFmpeg's AVCOL_RANGE_JPEG; what says nothing is limited.
_FULL = 2


class Colour(NamedTuple):
    """How planes become colours.

    Attributes:
        matrix: of ITU-R BT.601-7 or BT.709-6.
        full_range: whether luma and chroma use all of 0 to 255, or 16 to 235 and 16 to 240.
    """

    matrix: Literal["bt601", "bt709"] = "bt601"
    full_range: bool = False


CLIP_COLOUR = Colour()
"""What Genieset's own clips have."""


def colour_of(picture: VideoFrame) -> Colour:
    """What a decoded picture says of itself.

    Raises:
        ValueError: a matrix that is neither BT.601 nor BT.709.
    """
    matrix = int(picture.colorspace)
    if matrix not in _MATRICES:
        raise ValueError(f"matrix {matrix} of H.273 is neither BT.601 nor BT.709")
    return Colour(_MATRICES[matrix], int(picture.color_range) == _FULL)
