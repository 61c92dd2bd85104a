"""The exact cut: one ffmpeg decodes a source once, Python slices clips out of its frames.

ffmpeg is a child without network and without a file name: it reads one file descriptor, through
the protocol `fd` and the demuxers of `pipeline.probe`. It picks the frames of the 10-fps grid,
scales them, and pipes them with their time stamps (NUT). Which frame belongs to which clip is
decided here, by time stamp: frames are repeated over short gaps, never over long ones.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from pipeline.outcomes import Failed
from pipeline.probe import DEMUXERS, Probe
from shards.codec import CLIP_FPS, CLIP_FRAMES, HEIGHT_PX, WIDTH_PX, Frames
from shards.errors import UserError
from shards.records import ContentBox
from shards.settings import Block

CUT_VERSION = 1
"""Raised whenever the same source would become other frames: packs of another version are cut anew."""

# A frame up to a tenth of a slot early still belongs to the slot: containers round time stamps.
_EARLY = 0.1
_MAX_REPEATED_S = 1.0

# Decoding 4K needs a few hundred MB with one thread; what asks for more is not a video.
_MAX_MEMORY_BYTES = 3 * 2**30
_MIN_DEADLINE_S = 120.0
_DEADLINE_PER_SOURCE_S = 2.0
_UNKNOWN_DURATION_S = 12 * 3600.0


Picture = npt.NDArray[np.uint8]
"""One I420 picture of a clip's size, `[135, 160]` uint8."""

_TURNS: dict[int, tuple[tuple[str, ...], ...]] = {
    0: (),
    90: (("transpose", "cclock"),),
    180: (("hflip",), ("vflip",)),
    270: (("transpose", "clock"),),
}


class FrameSettings(Block):
    """What shapes the frames of a clip.

    Attributes:
        fit: `pad` shows the whole picture and fills up with black; `crop` fills the frame and
            loses the edges; `stretch` fills it and bends the picture.
        allow_low_fps: cut sources of less than 10 frames a second too, by repeating frames.
        ffmpeg: `bundled`, the pinned binary that pip installed, or `system`, the one on the PATH.
    """

    fit: Literal["pad", "crop", "stretch"] = "pad"
    allow_low_fps: bool = False
    ffmpeg: Literal["bundled", "system"] = "bundled"


@dataclass(frozen=True)
class CutClip:
    """Frames of one clip.

    Attributes:
        first_frame: its place on the 10-fps grid, counted from the source's first frame.
        frames: I420 pictures, `[160, 135, 160]` uint8.
        unique_frames: pictures that differ from the one before, in 1 to 160.
    """

    first_frame: int
    frames: Frames
    unique_frames: int


@dataclass(frozen=True)
class Geometry:
    """Where the source's picture goes in the frame of a clip.

    Attributes:
        source: what is taken of the coded picture, in its pixels.
        scaled: (width, height) it is scaled to, before it is turned upright.
        box: where it ends up in the clip's frame.
    """

    source: ContentBox
    scaled: tuple[int, int]
    box: ContentBox


def ffmpeg_binary(which: Literal["bundled", "system"]) -> str:
    """The path of the ffmpeg to use.

    Raises:
        UserError: the system's was asked for and there is none.
    """
    if which == "bundled":
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    binary = shutil.which("ffmpeg")
    if binary is None:
        raise UserError("frame.ffmpeg: no ffmpeg on the PATH; install one or set it to 'bundled'")
    return binary


def geometry(probe: Probe, fit: Literal["pad", "crop", "stretch"]) -> Geometry:
    """Fit a source's picture into the frame of a clip; all sizes and places are even."""
    turned = probe.rotation_deg in (90, 270)
    picture = probe.picture
    shown_width = float(picture.width * probe.pixel_aspect)
    shown_height = float(picture.height)
    if turned:
        shown_width, shown_height = shown_height, shown_width
    width, height = WIDTH_PX, HEIGHT_PX
    if fit == "pad":
        scale = min(WIDTH_PX / shown_width, HEIGHT_PX / shown_height)
        width = min(WIDTH_PX, _even(shown_width * scale))
        height = min(HEIGHT_PX, _even(shown_height * scale))
    elif fit == "crop":
        picture = _centre_crop(picture, shown_width / shown_height, turned)
    box = ContentBox((WIDTH_PX - width) // 4 * 2, (HEIGHT_PX - height) // 4 * 2, width, height)
    return Geometry(picture, (height, width) if turned else (width, height), box)


def cut(path: Path, probe: Probe, settings: FrameSettings) -> Iterator[CutClip]:
    """Cut a source into clips of exactly 160 frames; a shorter rest is left out.

    Memory is bounded by one clip, whatever the length of the source.

    Raises:
        Failed: no frame could be decoded (`unreadable`), or ffmpeg took too long (`timeout`).
    """
    pictures: list[Picture] = []
    first = 0
    for slot, picture in _on_grid(_decode(path, probe, settings)):
        if not pictures or slot != first + len(pictures):
            # A gap in time ends the clip; the next one begins behind it.
            pictures, first = [], slot
        pictures.append(picture)
        if len(pictures) == CLIP_FRAMES:
            frames = np.stack(pictures)
            changed = (frames[1:] != frames[:-1]).any(axis=(1, 2))
            yield CutClip(first, frames, 1 + int(np.count_nonzero(changed)))
            pictures = []


def _on_grid(timed: Iterator[tuple[float, Picture]]) -> Iterator[tuple[int, Picture]]:
    """Time stamps in seconds -> places on the 10-fps grid, ascending, each once.

    A place without a picture of its own repeats the last one, over at most `_MAX_REPEATED_S`.
    """
    start_s: float | None = None
    last, shown = -1, None
    for time_s, picture in timed:
        start_s = time_s if start_s is None else start_s
        slot = int((time_s - start_s) * CLIP_FPS + _EARLY)
        if slot <= last:
            continue
        if shown is not None and slot - last - 1 <= _MAX_REPEATED_S * CLIP_FPS:
            for missing in range(last + 1, slot):
                yield missing, shown
        last, shown = slot, picture
        yield slot, picture


def _decode(path: Path, probe: Probe, settings: FrameSettings) -> Iterator[tuple[float, Picture]]:
    """Time stamp in seconds and I420 picture `[135, 160]` of about ten frames a second."""
    deadline_s = max(_MIN_DEADLINE_S, _DEADLINE_PER_SOURCE_S * (probe.duration_s or _UNKNOWN_DURATION_S))
    expired = threading.Event()
    with path.open("rb") as source, tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            _command(source.fileno(), probe, settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=[source.fileno()],
        )
        resource.prlimit(child.pid, resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))

        def expire() -> None:
            expired.set()
            child.kill()

        timer = threading.Timer(deadline_s, expire)
        timer.daemon = True
        timer.start()
        decoded = 0
        try:
            assert child.stdout is not None
            for timed in _demux(child.stdout):
                decoded += 1
                yield timed
            # A decoder that stumbled over the end of a damaged file exits with an error too; what
            # it gave before is good.
            code = child.wait()
            if expired.is_set():
                raise Failed("timeout", f"decoding took longer than {deadline_s:.0f} s")
            if code < 0:
                raise Failed("crashed", f"ffmpeg died of signal {-code}: {_last_line(log)}")
            if not decoded:
                raise Failed("unreadable", f"no frame could be decoded: {_last_line(log)}")
        finally:
            timer.cancel()
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


def _command(fd: int, probe: Probe, settings: FrameSettings) -> list[str]:
    place = geometry(probe, settings.fit)
    source = ffmpeg.input(
        "fd:",
        fd=fd,
        protocol_whitelist="fd",
        format_whitelist=DEMUXERS,
        threads=1,
        noautorotate=None,
    )
    picture = source["v:0"]
    if probe.interlaced:
        picture = picture.filter("bwdif", mode="send_frame", deint="interlaced")
    slot = f"floor(({{}}-start_t)*{CLIP_FPS}+{_EARLY})"
    picture = picture.filter(
        "select", f"isnan(prev_selected_t)+gt({slot.format('t')},{slot.format('prev_selected_t')})"
    )
    if place.source[2:] != (probe.width, probe.height):
        x, y, width, height = place.source
        picture = picture.filter("crop", width, height, x, y)
    picture = _to_bt601(picture, probe, *place.scaled)
    for turn in _TURNS[probe.rotation_deg]:
        picture = picture.filter(*turn)
    picture = picture.filter("pad", WIDTH_PX, HEIGHT_PX, place.box.x, place.box.y)
    picture = picture.filter("format", "yuv420p")
    output = picture.output(
        "pipe:1",
        format="nut",
        vcodec="rawvideo",
        fps_mode="passthrough",
        enc_time_base="1:90000",
        fflags="+bitexact",
    )
    output = output.global_args(
        "-hide_banner",
        "-nostdin",
        "-loglevel",
        "error",
        "-filter_threads",
        "1",
        "-filter_complex_threads",
        "1",
    )
    return list(ffmpeg.compile(output, cmd=ffmpeg_binary(settings.ffmpeg)))


def _to_bt601(picture: ffmpeg.nodes.FilterableStream, probe: Probe, width: int, height: int) -> Any:
    """Scale, and bring the colours to BT.601 limited range."""
    matrix, full_range = probe.matrix, probe.full_range
    if probe.hdr:
        # The usual chain of zscale's documentation: to linear light, tone-mapped there, to BT.709.
        picture = picture.filter("zscale", width, height, transfer="linear", npl=100)
        picture = picture.filter("format", "gbrpf32le").filter("zscale", primaries="bt709")
        picture = picture.filter("tonemap", "hable")
        picture = picture.filter("zscale", transfer="bt709", matrix="bt709", range="limited")
        picture = picture.filter("format", "yuv420p")
        matrix, full_range = "bt709", False
    return picture.filter(
        "scale",
        width,
        height,
        flags="bicubic+accurate_rnd+full_chroma_int+bitexact",
        in_color_matrix=matrix,
        in_range="full" if full_range else "limited",
        out_color_matrix="smpte170m",
        out_range="limited",
    )


def _demux(pipe: IO[bytes]) -> Iterator[tuple[float, Picture]]:
    rows = HEIGHT_PX * 3 // 2
    try:
        with av.open(pipe, mode="r", format="nut") as container:
            for packet in container.demux(video=0):
                if packet.size and packet.pts is not None:
                    picture = np.frombuffer(bytes(packet), np.uint8).reshape(rows, WIDTH_PX)
                    yield float(packet.pts * packet.time_base), picture
    except av.FFmpegError:
        # The pipe ended before a header or inside a frame: the exit code tells why.
        return


def _centre_crop(picture: ContentBox, aspect: float, turned: bool) -> ContentBox:
    """The middle of the coded picture that has the aspect of a clip when shown."""
    x, y, width, height = picture
    keep = WIDTH_PX / HEIGHT_PX / aspect
    across = keep < 1  # the shown picture is too wide
    share = keep if across else 1 / keep
    if across != turned:
        kept = _even(width * share)
        return ContentBox(x + (width - kept) // 4 * 2, y, kept, height)
    kept = _even(height * share)
    return ContentBox(x, y + (height - kept) // 4 * 2, width, kept)


def _even(size: float) -> int:
    return max(2, round(size / 2) * 2)


def _last_line(log: IO[bytes]) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "ffmpeg said nothing"
