"""A look at a source before it is decoded: what it is, which way up, and where its bars are.

The file is hostile. It is opened as an open file, through the demuxers named here, with every
protocol forbidden, so that whatever it says it refers to stays unread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from pipeline.outcomes import Failed, Rejected
from shards.records import ContentBox

DEMUXERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf"
"""Containers that hold their own bytes. A playlist (HLS, DASH, concat, SDP) is never among them."""

_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"v=0\r", b"v=0\n", b"[playlist]", b"<smil", b"<ASX", b"<asx")
_SNIFFED_BYTES = 4096

_MAX_LOOKS = 16
_BLACK = 28  # limited-range black is 16; coding noise in a bar stays below 28
_MIN_BAR_SHARE = 0.02
_MIN_CONTENT_SHARE = 0.3

_HDR_TRANSFERS = frozenset({16, 18})  # ITU-T H.273: PQ (SMPTE ST 2084) and HLG (ARIB STD-B67)
_MATRICES = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
_HD_ROWS = 720  # what does not state its matrix is BT.709 from here on, by players' convention
_FULL_RANGE = 2


@dataclass(frozen=True)
class Probe:
    """What a source video is.

    Attributes:
        duration_s: None if the container does not say.
        width, height: of the coded picture in pixels, before rotation.
        fps: mean frame rate; None if the container does not say.
        pixel_aspect: width of a pixel over its height.
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
    rotation_deg: int
    interlaced: bool
    matrix: str
    full_range: bool
    hdr: bool
    picture: ContentBox


def probe(path: Path) -> Probe:
    """Look at a source video.

    Raises:
        Rejected: it holds no moving picture (`no_video`).
        Failed: it is no video (`unreadable`), or a list of other files (`unsafe`).
    """
    if not path.stat().st_size:
        raise Failed("unreadable", "the file is empty")
    with path.open("rb") as file:
        head = file.read(_SNIFFED_BYTES)
        if any(mark in head for mark in _PLAYLISTS) and b"\0" not in head:
            raise Failed("unsafe", "a playlist that refers to other files, dressed as a video")
        file.seek(0)
        try:
            with av.open(
                file, mode="r", options={"format_whitelist": DEMUXERS, "protocol_whitelist": ""}
            ) as container:
                return _probe(container)
        except (av.FFmpegError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise Failed("unreadable", f"no video container that is accepted: {reason}") from error


def _probe(container: InputContainer) -> Probe:
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        raise Rejected("no_video", "the file has no moving picture")
    stream = streams[0]
    looks = list(_key_frames(container, stream))
    width, height = (looks[0].width, looks[0].height) if looks else (stream.width, stream.height)
    if not width or not height:
        raise Failed("unreadable", "the video stream has no picture size")
    context = stream.codec_context
    duration_s = None
    if stream.duration and stream.time_base:
        duration_s = float(stream.duration * stream.time_base)
    elif container.duration:
        duration_s = container.duration / av.time_base
    fps = stream.average_rate or stream.guessed_rate
    return Probe(
        duration_s=duration_s,
        width=width,
        height=height,
        fps=float(fps) if fps else None,
        codec=context.name,
        pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
        rotation_deg=round(looks[0].rotation / 90) * 90 % 360 if looks else 0,
        interlaced=any(look.interlaced_frame for look in looks),
        matrix=_MATRICES.get(context.colorspace, "bt709" if height >= _HD_ROWS else "smpte170m"),
        full_range=context.color_range == _FULL_RANGE,
        hdr=context.color_trc in _HDR_TRANSFERS,
        picture=_picture_box(looks, width, height),
    )


def _key_frames(container: InputContainer, stream: VideoStream) -> Iterator[Any]:
    """Up to `_MAX_LOOKS` key frames spread over the video, of one size; broken ones are left out."""
    stream.codec_context.skip_frame = "NONKEY"
    stream.thread_type = "NONE"
    start = stream.start_time or 0
    step = (stream.duration or 0) // _MAX_LOOKS
    seen: set[int | None] = set()
    size = None
    for number in range(_MAX_LOOKS if step else 1):
        try:
            if number:
                container.seek(start + number * step, stream=stream)
            frame = next(container.decode(stream), None)
        except av.FFmpegError:
            continue
        if frame is None or frame.pts in seen:
            continue
        seen.add(frame.pts)
        size = size or (frame.width, frame.height)
        if (frame.width, frame.height) == size:
            yield frame


def _picture_box(looks: list[Any], width: int, height: int) -> ContentBox:
    """The part of the coded picture that is not black in every look."""
    brightest: npt.NDArray[np.uint8] | None = None
    for look in looks:
        luma = look.reformat(format="gray", threads=1).to_ndarray()
        brightest = luma if brightest is None else np.maximum(brightest, luma)
    whole = ContentBox(0, 0, width, height)
    if brightest is None:
        return whole
    # The 98th percentile of a line forgives single bright specks in a bar.
    top, bottom = _bounds(np.percentile(brightest, 98, axis=1))
    left, right = _bounds(np.percentile(brightest, 98, axis=0))
    box = ContentBox(left, top, right - left, bottom - top)
    if box.width < _MIN_CONTENT_SHARE * width or box.height < _MIN_CONTENT_SHARE * height:
        return whole
    return box


def _bounds(brightness: npt.NDArray[np.float64]) -> tuple[int, int]:
    """First line and line after the last that are not bar, even; thin edges stay."""
    size = len(brightness)
    bright = np.flatnonzero(brightness > _BLACK)
    if not bright.size:
        return 0, size
    first, after = int(bright[0]), int(bright[-1]) + 1
    first = first - first % 2 if first >= _MIN_BAR_SHARE * size else 0
    after = after + after % 2 if size - after >= _MIN_BAR_SHARE * size else size
    return first, after
