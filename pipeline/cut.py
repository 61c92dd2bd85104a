"""The exact cut: a source is decoded once, and its frames are sliced into clips.

Which frame belongs to which clip is decided by time stamp. Time is counted from the first frame;
frames are repeated over short gaps, never over long ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.decode import EARLY_SLOTS, PICTURE_BYTES, WIDE_SLOTS, Decoded, decode
from pipeline.frame import FrameSettings
from pipeline.probe import MAX_GAP_S, Probe
from shards.codec import CLIP_FPS, CLIP_FRAMES, HEIGHT_PX, WIDTH_PX, Frames
from shards.wide import WideFrame

CUT_VERSION = 2
"""Raised whenever the same source would become other frames: packs of another version are cut anew."""

# The time stamps that come back through the pipe are rounded once more, to 1/90000 s.
_EARLY_SLOTS = EARLY_SLOTS + 0.001


@dataclass(frozen=True)
class CutClip:
    """Frames of one clip.

    Attributes:
        first_frame: its place on the 10-fps grid, counted from the source's first frame.
        frames: I420 pictures, `[160, 135, 160]` uint8.
        unique_frames: pictures that differ from the one before, in 1 to 160.
        wide: larger ones of its frames, about four and in their order; none unless they are made.
    """

    first_frame: int
    frames: Frames
    unique_frames: int
    wide: tuple[WideFrame, ...] = ()


@dataclass
class CutReport:
    """What did not become clips, counted while a source is cut.

    Attributes:
        dropped_frames: frames on the 10-fps grid in a run too short for a clip: at the end, or
            before a gap in time.
    """

    dropped_frames: int = 0


def cut(
    path: Path, probe: Probe, settings: FrameSettings, report: CutReport | None = None
) -> Iterator[CutClip]:
    """Cut a source into clips of exactly 160 frames; a shorter rest is left out.

    Memory is bounded by one clip, whatever the length of the source. Closing the iterator ends
    ffmpeg.

    Args:
        report: is told of each rest that is left out.

    Raises:
        Failed: no frame could be decoded (`unreadable`), ffmpeg died (`crashed`) or took too long
            (`timeout`).
    """
    room, before = bytearray(CLIP_FRAMES * PICTURE_BYTES), b""
    report = report or CutReport()
    first = filled = unique = 0
    wide: dict[int, WideFrame] = {}
    with closing(decode(path, probe, settings)) as decoded:
        for slot, picture, jpeg in _on_grid(decoded, 1 / probe.fps if probe.fps else 0):
            if filled and slot != first + filled:
                # A gap in time ends the clip; the next one begins behind it.
                report.dropped_frames += filled
                filled = 0
            if not filled:
                first, unique, wide = slot, 1, {}
            elif picture != before:
                unique += 1
            room[filled * PICTURE_BYTES : (filled + 1) * PICTURE_BYTES] = before = picture
            if jpeg is not None:
                # Where a picture's size changes midway, ffmpeg begins to count anew.
                wide.setdefault(slot // WIDE_SLOTS, WideFrame(filled, jpeg))
            filled += 1
            if filled == CLIP_FRAMES:
                yield CutClip(first, _frames(room), unique, tuple(wide.values()))
                filled, room = 0, bytearray(CLIP_FRAMES * PICTURE_BYTES)
    report.dropped_frames += filled


def _frames(pictures: bytearray) -> Frames:
    return np.frombuffer(pictures, np.uint8).reshape(CLIP_FRAMES, HEIGHT_PX * 3 // 2, WIDTH_PX)


def _on_grid(decoded: Iterator[Decoded], stay_s: float) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Time stamps -> places on the 10-fps grid, ascending, each once, with picture and JPEG.

    A place without a picture of its own repeats the last one, over at most `MAX_GAP_S`; the very
    last picture stays for `stay_s`.
    """
    most = int(MAX_GAP_S * CLIP_FPS)
    start_s: float | None = None
    past_s, last, shown = 0.0, -1, None
    for time_s, picture, jpeg in decoded:
        start_s = time_s if start_s is None else start_s
        past_s = time_s - start_s
        slot = _slot(past_s)
        if slot <= last:
            continue
        if shown is not None and slot - last - 1 <= most:
            for missing in range(last + 1, slot):
                yield missing, shown, None
        last, shown = slot, picture
        yield slot, picture, jpeg
    if shown is not None:
        for missing in range(last + 1, min(last + 1 + most, _slot(past_s + stay_s))):
            yield missing, shown, None


def _slot(past_s: float) -> int:
    return int(past_s * CLIP_FPS + _EARLY_SLOTS)
