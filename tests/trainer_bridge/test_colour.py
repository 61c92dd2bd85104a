import io

import av
import numpy as np
import pytest

from shards.codec import encode_clip, key_packets
from trainer_bridge.colour import CLIP_COLOUR, Colour, colour_of


def encoding(matrix: int, color_range: int) -> tuple[bytes, bytes]:
    """The avcC record and the key frame of an encoding that says `matrix` and `color_range` (0: nothing)."""
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
        return opened.streams.video[0].codec_context.extradata or b"", key_packets(mp4)[0]


def test_clips_are_what_the_codec_says() -> None:
    clip = encode_clip(np.full((2, 48, 64), 128, np.uint8))
    assert colour_of(clip.extradata, key_packets(clip.mp4)[0]) == CLIP_COLOUR


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
    assert colour_of(*encoding(matrix, color_range)) == colour


@pytest.mark.parametrize("packet", [b"", b"\x00\x00\x00\x01", bytes(200)])
def test_a_packet_that_does_not_decode_is_refused(packet: bytes) -> None:
    record, _ = encoding(6, 1)
    with pytest.raises(ValueError, match="does not decode"):
        colour_of(record, packet)


def test_another_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="matrix_coefficients 9"):
        colour_of(*encoding(9, 1))
