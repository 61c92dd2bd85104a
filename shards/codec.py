"""The clip codec: exactly the frames that go in, as an mp4 whose every frame has a known place.

Frames are I420 pictures in one array, `[T, H * 3 // 2, W]` uint8: H rows of luma, then the quarter-
size planes of Cb and Cr packed below it. H and W are even; values are BT.601, limited range.

Why these settings: a closed group of 16 pictures makes an aligned training window one independent
run of packets; without B-frames a packet is a picture and display order is file order; the
`fastdecode` tuning and yuv420p are what `reference` decoders read fastest. One thread, bit-exact
flags and no macroblock tree make equal frames equal bytes on any x86 machine with SSE4.2.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import av.codec.context
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

WIDTH_PX = 160
HEIGHT_PX = 90
CLIP_FPS = 10
CLIP_FRAMES = 160
GOP_FRAMES = 16

CODEC_VERSION = 3
"""Raised whenever the same frames would become other bytes, or an index would tell more of them: packs of
another version are cut anew."""

Frames = npt.NDArray[np.uint8]
"""I420 pictures, `[T, H * 3 // 2, W]` uint8, BT.601 limited range."""

# Numbers of ITU-T H.273: colour_primaries, transfer_characteristics and matrix_coefficients 6 are
# SMPTE 170M (BT.601 with 525 lines), which decoders also assume of small video that says nothing.
_SMPTE170M = 6
_LIMITED_RANGE = 1

# x264's macroblock tree is not exact: it divides by the CPU's approximate reciprocal, of which each
# maker has another, and its AVX-512 code (x264 165) weighs the last blocks of a picture of 10 x 6
# otherwise than its AVX2 code does, and otherwise in one run of some hundreds than in the next. Finer key
# pictures and a steadier quality stand in for it: over the samples 48.1 dB of luma in 84 kB a clip,
# where the tree had 46.6 dB in 78 kB.
_EXACT = "mbtree=0:ipratio=2.5:qcomp=0.8:aq-strength=0.7"

X264 = {
    "preset": "veryfast",
    "tune": "fastdecode",
    "crf": "22",
    "x264-params": f"keyint={GOP_FRAMES}:min-keyint={GOP_FRAMES}:scenecut=0:bframes=0:open-gop=0:{_EXACT}",
}


class CodecError(ValueError):
    """Bytes that are not the clip their index says they are."""


@dataclass(frozen=True)
class EncodedClip:
    """An mp4 and the places of its frames.

    Attributes:
        mp4: the file, moov first; the packets are its last `sum(packet_sizes)` bytes.
        packet_sizes: one size in bytes a frame, in display order.
        extradata: the avcC record a decoder needs before the first packet.
    """

    mp4: bytes
    packet_sizes: tuple[int, ...]
    extradata: bytes


def encode_clip(frames: Frames | Iterable[Frames], fps: float = CLIP_FPS) -> EncodedClip:
    """Encode frames of a constant rate; the mp4 holds exactly as many as are given.

    Args:
        frames: I420 pictures `[T, H * 3 // 2, W]` uint8, or an iterable of single ones.
        fps: frames a second, > 0.

    Raises:
        ValueError: there are no frames, or their height or width is odd.
    """
    rate = Fraction(fps).limit_denominator(1001)
    time_base = 1 / rate
    buffer = _KeptBuffer()
    # The second pass of faststart opens the output once more, to read what was written.
    container = av.open(
        buffer,
        "w",
        format="mp4",
        options={"movflags": "+faststart", "fflags": "+bitexact"},
        io_open=lambda *_: _KeptBuffer(buffer.getvalue()),
    )
    stream: VideoStream | None = None
    with container:
        for number, picture in enumerate(frames):
            if stream is None:
                stream, reader = _add_stream(container, picture, rate), _raw_reader(picture)
            (frame,) = reader.decode(av.Packet(picture.tobytes()))
            frame.pts, frame.time_base = number, time_base
            # As a raw picture it is a key picture, and would be encoded as one.
            frame.pict_type = PictureType.NONE
            frame.colorspace, frame.color_range = _SMPTE170M, _LIMITED_RANGE
            container.mux(stream.encode(frame))
        if stream is None:
            raise ValueError("a clip needs at least one frame")
        container.mux(stream.encode(None))
    return probe_clip(buffer.getvalue())


def probe_clip(mp4: bytes) -> EncodedClip:
    """Find the packets of a clip file.

    Raises:
        CodecError: the bytes are not an mp4 whose packets lie in order at its end.
    """
    try:
        with av.open(io.BytesIO(mp4), mode="r", format="mp4") as container:
            stream = container.streams.video[0]
            places = [(packet.pos, packet.size) for packet in container.demux(stream) if packet.size]
            extradata = stream.codec_context.extradata or b""
    except (av.FFmpegError, IndexError) as error:
        raise CodecError(f"not a clip file: {error}") from error
    end = len(mp4)
    for position, size in reversed(places):
        end -= size
        if position != end:
            raise CodecError(f"packet at byte {position}, expected at {end}")
    return EncodedClip(mp4, tuple(size for _, size in places), extradata)


def key_packets(mp4: bytes) -> list[bytes]:
    """The packets of the key frames of a clip file, by what the file itself says of them.

    Raises:
        CodecError: the bytes are not an mp4 with a video in it.
    """
    try:
        with av.open(io.BytesIO(mp4), mode="r", format="mp4") as container:
            packets = container.demux(container.streams.video[0])
            return [bytes(packet) for packet in packets if packet.size and packet.is_keyframe]
    except (av.FFmpegError, IndexError) as error:
        raise CodecError(f"not a clip file: {error}") from error


def decode_clip(mp4: bytes) -> Frames:
    """All frames of a clip file, I420 `[T, H * 3 // 2, W]` uint8.

    Raises:
        CodecError: the bytes are not a clip file or one of its packets does not decode.
    """
    clip = probe_clip(mp4)
    start = len(mp4) - sum(clip.packet_sizes)
    return PacketDecoder(clip.extradata).decode(split_packets(mp4[start:], clip.packet_sizes))


def split_packets(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Cut a run of packets into its packets.

    Raises:
        CodecError: the run is shorter than its packets.
    """
    view, packets, place = memoryview(data), [], 0
    if len(data) < sum(sizes):
        raise CodecError(f"{len(data)} bytes of packets, {sum(sizes)} expected")
    for size in sizes:
        packets.append(bytes(view[place : place + size]))
        place += size
    return packets


class PacketDecoder:
    """A decoder that stays open: fed with packets, it never opens a container.

    Args:
        extradata: the avcC record of the encoding that the packets come from.
    """

    def __init__(self, extradata: bytes) -> None:
        self._context = av.CodecContext.create("h264", "r")
        self._context.extradata = extradata
        self._context.thread_count = 1
        # By default ffmpeg conceals damage, and returns a picture that was never there.
        self._context.options = {"err_detect": "explode"}

    def decode(self, packets: Sequence[bytes]) -> Frames:
        """Decode a run of packets that begins with a key frame; `[T, H * 3 // 2, W]` uint8.

        Raises:
            CodecError: a packet does not decode or a frame is missing.
        """
        frames: Frames | None = None
        for number, picture in enumerate(self.pictures(packets)):
            if frames is None:
                frames = np.empty((len(packets), *planes_shape(picture)), np.uint8)
            copy_planes(picture, *split_planes(frames[number]))
        assert frames is not None, "pictures raises where there are none"
        return frames

    def pictures(self, packets: Sequence[bytes]) -> Generator[VideoFrame, None, None]:
        """Decode as `decode` does, and hand on each picture as soon as it is there.

        Raises:
            CodecError: as `decode`, after the pictures before the damage.
        """
        count = 0
        try:
            for data in [*packets, None]:
                for picture in self._context.decode(None if data is None else av.Packet(data)):
                    yield picture
                    count += 1
        except av.FFmpegError as error:
            raise CodecError(f"packet {count} does not decode: {error}") from error
        finally:
            self._context.flush_buffers()
        if not count or count != len(packets):
            raise CodecError(f"{count} frames in {len(packets)} packets")


def planes_shape(picture: VideoFrame) -> tuple[int, int]:
    """Rows and columns of a decoded picture as I420 in one array: `(H * 3 // 2, W)`.

    Raises:
        CodecError: it is no I420, or odd in height or width.
    """
    if picture.format.name != "yuv420p" or picture.width % 2 or picture.height % 2:
        raise CodecError(
            f"frames of {picture.width}x{picture.height} in {picture.format.name}; clips are yuv420p and of "
            "even width and height"
        )
    return picture.height * 3 // 2, picture.width


def split_planes(frames: Frames) -> tuple[Frames, Frames]:
    """Luma `[..., H, W]` and chroma `[..., 2, H / 2, W / 2]` of I420 pictures `[..., H * 3 // 2, W]`."""
    *batch, rows, width = frames.shape
    height = rows * 2 // 3
    return frames[..., :height, :], frames[..., height:, :].reshape(*batch, 2, height // 2, width // 2)


def copy_planes(picture: VideoFrame, luma: Frames, chroma: Frames) -> None:
    """Copy a decoded picture; half as dear as PyAV's own array of it.

    Args:
        luma: where its luma goes, `[H, W]` uint8.
        chroma: where Cb and Cr go, `[2, H / 2, W / 2]` uint8.

    Raises:
        CodecError: the picture is of another size or kind.
    """
    height, width = luma.shape
    if (picture.width, picture.height, picture.format.name) != (width, height, "yuv420p"):
        raise CodecError(f"a frame is of another size or kind: {picture.format}")
    y, cb, cr = picture.planes
    luma[:] = _rows(y, height, width)
    chroma[0] = _rows(cb, height // 2, width // 2)
    chroma[1] = _rows(cr, height // 2, width // 2)


def _rows(plane: Any, height: int, width: int) -> Frames:
    """A plane where it lies; its rows are padded to a length that the decoder likes."""
    return np.ndarray((height, width), np.uint8, plane, 0, (plane.line_size, 1))


def _add_stream(container: Any, picture: Frames, rate: Fraction) -> VideoStream:
    rows, width = picture.shape
    if rows % 3 or width % 2:
        raise ValueError(f"not an I420 picture of even height and width: {picture.shape}")
    stream = cast(VideoStream, container.add_stream("libx264", rate=rate, options=X264))
    stream.width, stream.height, stream.pix_fmt = width, rows * 2 // 3, "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    context.flags |= av.codec.context.Flags.bitexact
    context.sample_aspect_ratio = Fraction(1, 1)
    context.color_range, context.colorspace = _LIMITED_RANGE, _SMPTE170M
    context.color_primaries = context.color_trc = _SMPTE170M
    return stream


def _raw_reader(picture: Frames) -> VideoCodecContext:
    """What makes a frame of a picture's bytes; PyAV's own way from an array costs five times as much."""
    reader = av.CodecContext.create("rawvideo", "r")
    rows, reader.width = picture.shape
    reader.height, reader.pix_fmt = rows * 2 // 3, "yuv420p"
    return reader


class _KeptBuffer(io.BytesIO):
    """A buffer that outlives the muxer's close."""

    def close(self) -> None:
        self.flush()
