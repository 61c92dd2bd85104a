"""A look at a source before it is decoded: what it is, which way up, and where its bars are.

The file is hostile. It is opened as an open file, through the demuxers named here, with every
protocol forbidden, so that whatever it says it refers to stays unread.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.bars import Bars, bars_of, picture_box
from pipeline.memory import at_most_more
from pipeline.outcomes import Failed, Rejected
from shards.codec import CLIP_FPS
from shards.records import ContentBox

DEMUXERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf"
"""Containers that hold their own bytes. A playlist (HLS, DASH, concat, SDP) is never among them."""

MAX_GAP_S = 1.0
"""What lies between two frames further apart is not shown by the first of them: it is a gap."""

_PLAYLISTS = re.compile(
    rb"#EXTM3U|ffconcat|<MPD\b|^(?:\xef\xbb\xbf)?\s*v=0\r?$|\[playlist\]|\[reference\]|<smil|<asx|<playlist\b|RTSPtext",
    re.IGNORECASE | re.MULTILINE,
)
_REFERENCE_MOVIE = re.compile(rb"moov....rmra", re.DOTALL)
_SOUND = re.compile(rb"ID3|fLaC|RIFF....WAVE|FORM....AIF|\xff[\xf1\xf9\xfa\xfb]", re.DOTALL)
_SNIFFED_BYTES = 4096

_MAX_LOOKS = 16
# A look ends here where no key frame comes: 8 s at 60 fps and more at less.
_MAX_PACKETS = 500
# Looking at 8K takes half of it; what asks for more is not a video.
_MAX_MEMORY_BYTES = 2**30
# An 8K picture; a decoder that is asked for more says no.
_MAX_PIXELS = 8192 * 4352

_HDR_TRANSFERS = frozenset({16, 18})  # ITU-T H.273: PQ (SMPTE ST 2084) and HLG (ARIB STD-B67)
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
_HD_ROWS = 720  # what does not state its matrix is BT.709 from here on, by players' convention
_FULL_RANGE = 2


@dataclass(frozen=True)
class Probe:
    """What a source video is.

    Attributes:
        duration_s: None if the container does not say.
        width, height: of the coded picture in pixels, before rotation.
        fps: mean frame rate where there are frames; None if the container does not say.
        pixel_aspect: width of a pixel over its height.
        upside_down: whether it is mirrored top to bottom, to be undone before it is turned.
        rotation_deg: counter-clockwise turn that shows it upright: 0, 90, 180 or 270.
        picture: the coded picture without constant black bars.
        matrix: name of the colour matrix, as ffmpeg's scale filter wants it.
    """

    duration_s: float | None
    width: int
    height: int
    fps: float | None
    codec: str
    pixel_aspect: Fraction
    upside_down: bool
    rotation_deg: int
    interlaced: bool
    matrix: str
    full_range: bool
    hdr: bool
    picture: ContentBox


class _Source(io.FileIO):
    """A file to whose reader an impossible place is an answer, not an exception."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            return -errno.EINVAL


def probe(path: Path) -> Probe:
    """Look at a source video.

    Raises:
        Rejected: it holds no moving picture (`no_video`).
        Failed: it is no video (`unreadable`), or a list of other files (`unsafe`).
    """
    with _Source(path) as file:
        head = file.read(_SNIFFED_BYTES)
        if not head:
            raise Failed("unreadable", "the file is empty")
        if _refers_elsewhere(head):
            raise Failed("unsafe", "a playlist that refers to other files, dressed as a video")
        file.seek(0)
        try:
            with (
                at_most_more(_MAX_MEMORY_BYTES),
                av.open(
                    file,
                    mode="r",
                    options={"format_whitelist": DEMUXERS, "protocol_whitelist": ""},
                    metadata_errors="replace",
                ) as container,
            ):
                return _probe(container)
        except MemoryError as error:
            raise Failed("unreadable", "a look at it takes more memory than a video's would") from error
        except av.FFmpegError as error:
            if _SOUND.match(head):
                raise Rejected("no_video", "a sound file") from error
            reason = error.strerror or type(error).__name__
            raise Failed("unreadable", f"no video container that is accepted: {reason}") from error


def _refers_elsewhere(head: bytes) -> bool:
    text = head
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = head.replace(b"\0", b"")
    if b"\0" in text:
        return _REFERENCE_MOVIE.search(head) is not None
    return _PLAYLISTS.search(text) is not None


def _probe(container: InputContainer) -> Probe:
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        raise Rejected("no_video", "the file has no moving picture")
    stream = streams[0]
    context = stream.codec_context
    # PyAV's types leave out that there may be no decoder.
    if cast(object, context) is None:
        raise Failed("unreadable", "the video is of an unknown codec")
    context.options = {"max_pixels": str(_MAX_PIXELS)}
    stream.thread_type = "NONE"
    duration_s = _duration_s(container, stream)
    places = _places(stream, duration_s)
    width, height, upside_down, rotation_deg, interlaced = 0, 0, False, 0, False
    bars: list[Bars] = []
    for look in _key_frames(container, stream, places):
        if not width:
            width, height = look.width, look.height
            upside_down, rotation_deg = _mirrored(look), round(look.rotation / 90) * 90 % 360
        interlaced = interlaced or look.interlaced_frame
        if (look.width, look.height) == (width, height):
            bars += bars_of(look)
    width, height = width or stream.width, height or stream.height
    if not width or not height:
        raise Failed("unreadable", "the video stream has no picture size")
    fps = _frame_rate(container, stream, places)
    hdr = context.color_trc in _HDR_TRANSFERS
    usual_matrix = "bt2020" if hdr else "bt709" if height >= _HD_ROWS else "smpte170m"
    return Probe(
        duration_s=duration_s,
        width=width,
        height=height,
        fps=float(fps) if fps else None,
        codec=context.codec.canonical_name,
        pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
        upside_down=upside_down,
        rotation_deg=rotation_deg,
        interlaced=interlaced,
        matrix=_MATRICES.get(context.colorspace, usual_matrix),
        full_range=context.color_range == _FULL_RANGE,
        hdr=hdr,
        picture=picture_box(bars, width, height),
    )


def _mirrored(look: VideoFrame) -> bool:
    """Whether the picture's display matrix mirrors it too: its determinant is negative then."""
    matrix = cast(Mapping[str, bytes], look.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(float)
    return bool(a * d < b * c)


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    duration_s = 0.0
    if stream.duration and stream.time_base:
        duration_s = float(stream.duration * stream.time_base)
    elif container.duration:
        duration_s = container.duration / av.time_base
    return duration_s if duration_s > 0 else None


def _places(stream: VideoStream, duration_s: float | None) -> list[int | None]:
    """Time stamps spread over the video to look at; None is wherever the reading has come to."""
    if duration_s is None or not stream.time_base:
        return [None] * _MAX_LOOKS
    start = stream.start_time or 0
    step = duration_s / _MAX_LOOKS / stream.time_base
    return [start + int(number * step) for number in range(_MAX_LOOKS)]


def _packets(
    container: InputContainer, stream: VideoStream, place: int | None
) -> Iterator[Packet[VideoStream]]:
    """The packets from a place on, up to `_MAX_PACKETS`; none if it cannot be read there."""
    try:
        if place is not None:
            container.seek(place, stream=stream)
        for packet in islice(container.demux(stream), _MAX_PACKETS):
            if packet.size:
                yield packet
    except (av.FFmpegError, IndexError):
        # PyAV stumbles at the end of a file whose streams have become more meanwhile.
        return


def _key_frames(
    container: InputContainer, stream: VideoStream, places: Sequence[int | None]
) -> Iterator[VideoFrame]:
    """The first key frame behind each place, each once; broken ones are left out."""
    context = stream.codec_context
    seen: set[tuple[int | None, int | None]] = set()
    for place in places:
        packet = next((p for p in _packets(container, stream, place) if p.is_keyframe), None)
        if packet is None or (packet.pts, packet.dts) in seen:
            continue
        seen.add((packet.pts, packet.dts))
        try:
            yield from (context.decode(packet) + context.decode(None))[:1]
        except av.FFmpegError:
            continue
        finally:
            context.flush_buffers()


def _frame_rate(
    container: InputContainer, stream: VideoStream, places: Sequence[int | None]
) -> Fraction | float | None:
    """Frames a second; where the stated mean is low, the mean without the gaps in time."""
    stated = stream.average_rate or stream.guessed_rate
    if stated and stated >= CLIP_FPS:
        return stated
    frames, seconds = 0, 0.0
    for place in places:
        stamps = sorted(packet.pts for packet in _packets(container, stream, place) if packet.pts is not None)
        steps = np.diff(stamps) * float(stream.time_base or 0)
        steps = steps[(steps > 0) & (steps <= MAX_GAP_S)]
        frames, seconds = frames + len(steps), seconds + float(steps.sum())
    return frames / seconds if seconds else stated
