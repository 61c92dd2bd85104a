"""What the numbers of a picture's planes mean, as its own stream says."""

from __future__ import annotations

from typing import Literal, NamedTuple

from av.video.frame import VideoFrame

Matrix = Literal["bt601", "bt709"]


class Colour(NamedTuple):
    """How luma and chroma stand for red, green and blue.

    Attributes:
        matrix: the weights of red, green and blue in luma, as of ITU-R BT.601-7 or BT.709-6.
        full_range: luma and chroma take all of 0 to 255, not 16 to 235 and 16 to 240.
    """

    matrix: Matrix
    full_range: bool


CLIP_COLOUR = Colour("bt601", full_range=False)
"""What `shards.codec` writes, and what decoders assume of small video that says nothing."""

# ITU-T H.273, matrix_coefficients: 2 says nothing, 5 and 6 are one matrix.
_MATRICES: dict[int, Matrix] = {1: "bt709", 2: "bt601", 5: "bt601", 6: "bt601"}
_FULL_RANGE = 2


def colour_of(picture: VideoFrame) -> Colour:
    """What a decoded picture says of its colours.

    Raises:
        ValueError: its matrix is neither BT.601's nor BT.709's.
    """
    number = int(picture.colorspace)
    if number not in _MATRICES:
        raise ValueError(f"matrix_coefficients {number}: clips are of BT.601 or BT.709")
    return Colour(_MATRICES[number], full_range=int(picture.color_range) == _FULL_RANGE)
