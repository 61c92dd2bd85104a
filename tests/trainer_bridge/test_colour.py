import io

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from shards.codec import PacketDecoder, encode_clip, key_packets
from trainer_bridge.colour import CLIP_COLOUR, Colour, colour_of


def picture(matrix: int, color_range: int) -> VideoFrame:
    """A picture of an encoding that says `matrix` and `color_range` (0: nothing)."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, color_range
        frame = av.VideoFrame.from_ndarray(np.full((48, 32), 128, np.uint8), format="yuv420p")
        frame.colorspace, frame.color_range = matrix, color_range
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    mp4 = buffer.getvalue()
    with av.open(io.BytesIO(mp4)) as opened:
        return first_picture(opened.streams.video[0].codec_context.extradata or b"", mp4)


def first_picture(extradata: bytes, mp4: bytes) -> VideoFrame:
    return next(PacketDecoder(extradata).pictures(key_packets(mp4)[:1]))


def test_clips_are_what_the_codec_says() -> None:
    clip = encode_clip(np.full((2, 48, 64), 128, np.uint8))
    assert colour_of(first_picture(clip.extradata, clip.mp4)) == CLIP_COLOUR


@pytest.mark.parametrize(
    ("matrix", "color_range", "colour"),
    [
        (1, 1, Colour("bt709", False)),
        (1, 2, Colour("bt709", True)),
        (5, 2, Colour("bt601", True)),
        (6, 1, Colour("bt601", False)),
        (2, 0, CLIP_COLOUR),
    ],
)
def test_other_encodings_are_read(matrix: int, color_range: int, colour: Colour) -> None:
    assert colour_of(picture(matrix, color_range)) == colour


def test_another_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="matrix_coefficients 9"):
        colour_of(picture(9, 1))
