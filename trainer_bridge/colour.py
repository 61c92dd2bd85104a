"""What the numbers of an encoding's planes mean, as its own stream says."""

from __future__ import annotations

from typing import Literal, NamedTuple

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


def colour_of(extradata: bytes, packet: bytes) -> Colour:
    """What an H.264 encoding says of its colours; about a millisecond, once an encoding.

    Args:
        extradata: the avcC record of the encoding, as the index has it.
        packet: a key frame of it: ffmpeg tells the colours of a picture, not of parameter sets.

    Raises:
        ValueError: the packet does not decode, or the matrix is neither BT.601's nor BT.709's.
    """
    import av
    from av.video.codeccontext import VideoCodecContext

    context = av.CodecContext.create("h264", "r")
    assert isinstance(context, VideoCodecContext)
    context.extradata = extradata
    context.thread_count = 1
    context.options = {"err_detect": "explode"}
    try:
        pictures = context.decode(av.Packet(packet)) + context.decode(None)
    except av.FFmpegError as error:
        raise ValueError(f"the key frame does not decode: {error}") from error
    if not pictures:
        raise ValueError("the key frame does not decode: no picture in it")
    number = int(pictures[0].colorspace)
    if number not in _MATRICES:
        raise ValueError(f"matrix_coefficients {number}: clips are of BT.601 or BT.709")
    return Colour(_MATRICES[number], full_range=int(pictures[0].color_range) == _FULL_RANGE)
