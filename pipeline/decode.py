"""One ffmpeg a source: hostile bytes in, small pictures with their time stamps out.

ffmpeg is a child without network and without a file name: it reads one file descriptor, through
the protocol `fd` and the demuxers of `pipeline.probe`, with a limit of memory and a deadline. It
picks the frames of the 10-fps grid, scales them, and pipes them with their time stamps (NUT). Where
wide frames are wanted, one of 40 goes through the same pipe a second time: larger, and as a JPEG.

Where time stamps run backward (recordings laid end to end) what follows is placed behind a gap of
`_SPLICE_S`.
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import av
import ffmpeg
import imageio_ffmpeg

from pipeline.frame import FrameSettings, geometry, wide_size
from pipeline.outcomes import Failed
from pipeline.probe import DEMUXERS, MAX_GAP_S, Probe
from shards.codec import CLIP_FPS, HEIGHT_PX, WIDTH_PX
from shards.errors import UserError

# A frame about a tenth of a slot early still belongs to the slot: containers round time stamps. It
# is no whole number of milliseconds, which would lie on time stamps.
EARLY_SLOTS = 0.105
_SPLICE_S = 2.0
_FORWARD = f"if(lt(PTS+ld(0),PREV_OUTPTS-{MAX_GAP_S}/TB),st(0,PREV_OUTPTS+{_SPLICE_S}/TB-PTS));PTS+ld(0)"

# Decoding 4K needs a few hundred MB with one thread; what asks for more is not a video.
_MAX_MEMORY_BYTES = 3 * 2**30
_MIN_DEADLINE_S = 120.0
_DEADLINE_PER_SOURCE_S = 4.0
_UNKNOWN_DURATION_S = 12 * 3600.0
_MAX_DURATION_S = 24 * 3600.0

# A pipe holds a sixteenth of this unless it is told; each time it is full, two processes take turns.
_PIPE_BYTES = 2**20

# Other names of the matrix that clips are in.
_BT601 = frozenset({"smpte170m", "bt470bg"})

# Of so many places on the grid the first is kept wide too: four a clip.
WIDE_SLOTS = 40
# From 2, the best, to 31; at 3 small text keeps its edges.
_JPEG_QUALITY = 3

_SCALER = "bicubic+accurate_rnd+full_chroma_int+bitexact"

PICTURE_BYTES = HEIGHT_PX * 3 // 2 * WIDTH_PX
"""One I420 picture of a clip's size."""

_TURNS: dict[int, tuple[tuple[str, ...], ...]] = {
    0: (),
    90: (("transpose", "cclock"),),
    180: (("hflip",), ("vflip",)),
    270: (("transpose", "clock"),),
}


class Decoded(NamedTuple):
    """A frame of a source.

    Attributes:
        picture: I420, `PICTURE_BYTES`.
        jpeg: the same frame upright and at `wide_size`, if it is one of those that are kept wide.
    """

    time_s: float
    picture: bytes
    jpeg: bytes | None


def decode(path: Path, probe: Probe, settings: FrameSettings) -> Generator[Decoded]:
    """About ten frames a second."""
    duration_s = min(probe.duration_s or _UNKNOWN_DURATION_S, _MAX_DURATION_S)
    deadline_s = max(_MIN_DEADLINE_S, _DEADLINE_PER_SOURCE_S * duration_s)
    expired = threading.Event()
    with path.open("rb") as source, tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            _command(source.fileno(), probe, settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=[source.fileno()],
        )
        assert child.stdout is not None

        def expire() -> None:
            expired.set()
            child.kill()

        timer = threading.Timer(deadline_s, expire)
        timer.daemon = True
        decoded = 0
        try:
            resource.prlimit(child.pid, resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
            timer.start()
            fcntl.fcntl(child.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            for frame in _demux(child.stdout.fileno()):
                decoded += 1
                yield frame
            # A decoder that stumbled over the end of a damaged file exits with an error too; what
            # it gave before is good.
            code = child.wait()
            if expired.is_set():
                raise Failed("timeout", f"decoding took longer than {deadline_s:.0f} s")
            if code < 0:
                # ffmpeg has a limit of memory, at which it aborts: a SIGKILL comes from outside.
                killed = code == -signal.SIGKILL
                raise Failed("crashed", f"ffmpeg died of signal {-code}: {_said(log)[-1]}", passing=killed)
            if not decoded:
                raise Failed("unreadable", f"no frame could be decoded: {_said(log)[0]}")
        finally:
            timer.cancel()
            child.kill()
            child.wait()
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
    picture = source["V:0"].filter("setpts", _FORWARD)
    if probe.interlaced:
        picture = picture.filter("bwdif", mode="send_frame", deint="interlaced")
    picture = _first_of_each(picture, 1)
    if place.source[2:] != (probe.width, probe.height):
        # In shares of the picture, whose size may change midway.
        x, y, width, height = place.source
        picture = picture.filter(
            "crop",
            f"iw*{width}/{probe.width}",
            f"ih*{height}/{probe.height}",
            f"iw*{x}/{probe.width}",
            f"ih*{y}/{probe.height}",
        )
    streams, coding = [], {"vcodec": "rawvideo"}
    if settings.wide:
        both = picture.filter_multi_output("split")
        picture, larger = both[0], both[1]
        larger = _upright(_first_of_each(larger, WIDE_SLOTS), probe, *wide_size(probe, settings.fit))
        # A JPEG is in full range.
        larger = larger.filter("scale", flags=_SCALER, in_range="limited", out_range="full")
        streams, coding = [larger.filter("format", "yuvj420p")], _WIDE_CODING
    picture = _upright(picture, probe, *place.scaled)
    picture = picture.filter("pad", WIDTH_PX, HEIGHT_PX, place.box.x, place.box.y)
    output = ffmpeg.output(
        *streams,
        picture,
        "pipe:1",
        format="nut",
        **coding,
        fps_mode="passthrough",
        enc_time_base="1:90000",
        map_metadata=-1,
        map_chapters=-1,
        fflags="+bitexact",
    )
    output = output.global_args(
        "-hide_banner",
        "-nostdin",
        "-copyts",
        "-loglevel",
        "error",
        "-filter_threads",
        "1",
        "-filter_complex_threads",
        "1",
    )
    return list(ffmpeg.compile(output, cmd=ffmpeg_binary(settings.ffmpeg)))


# Packets of one time leave in the order of their streams: a JPEG, then the picture of the same frame.
_WIDE_CODING: dict[str, Any] = {
    "c:v:0": "mjpeg",
    "q:v:0": _JPEG_QUALITY,
    "threads:v:0": 1,
    "flags:v:0": "+bitexact",
    "c:v:1": "rawvideo",
    # However long the next JPEG takes: at most `WIDE_SLOTS` pictures wait for it.
    "max_interleave_delta": 0,
}


def _first_of_each(picture: ffmpeg.nodes.FilterableStream, slots: int) -> ffmpeg.nodes.FilterableStream:
    """The first frame in each run of so many places on the grid."""
    run = f"floor(({{}}-start_t)*{CLIP_FPS}+{EARLY_SLOTS})"
    if slots > 1:
        run = f"floor({run}/{slots})"
    return picture.filter(
        "select", f"isnan(prev_selected_t)+gt({run.format('t')},{run.format('prev_selected_t')})"
    )


def _upright(
    picture: ffmpeg.nodes.FilterableStream, probe: Probe, width: int, height: int
) -> ffmpeg.nodes.FilterableStream:
    picture = to_bt601(picture, probe, width, height)
    if probe.upside_down:
        picture = picture.filter("vflip")
    for turn in _TURNS[probe.rotation_deg]:
        picture = picture.filter(*turn)
    return picture


def to_bt601(picture: ffmpeg.nodes.FilterableStream, probe: Probe, width: int, height: int) -> Any:
    """Scale, and bring the colours to 8 bits of BT.601 limited range.

    The scaler keeps the matrix: changing it too, it would go by way of RGB, which costs as much as
    decoding 144p does.
    """
    picture = picture.filter(
        "scale",
        width,
        height,
        flags=_SCALER,
        in_color_matrix=probe.matrix,
        in_range="full" if probe.full_range else "limited",
        out_color_matrix="bt2020" if probe.hdr else probe.matrix,
        out_range="limited",
    )
    if probe.hdr:
        # The usual chain of zscale's documentation: to linear light, tone-mapped there, and back.
        # HDR video that does not state its primaries has those of BT.2020.
        picture = picture.filter("format", "yuv444p10le").filter(
            "zscale",
            matrixin="2020_ncl",
            primariesin="2020",
            rangein="limited",
            primaries="709",
            transfer="linear",
            npl=100,
        )
        picture = picture.filter("format", "gbrpf32le").filter("tonemap", "hable")
        # What is brighter than white is cut off by going through whole numbers.
        picture = picture.filter("zscale", transfer="709").filter("format", "gbrp10le")
        picture = picture.filter("zscale", matrix="170m", range="limited")
    picture = picture.filter("format", "yuv420p")
    if probe.hdr or probe.matrix in _BT601:
        return picture
    return picture.filter("colormatrix", src=probe.matrix, dst="smpte170m")


def _demux(pipe: int) -> Iterator[Decoded]:
    try:
        # libavformat reads the pipe itself: no call into Python for each piece of a picture.
        with av.open(f"pipe:{pipe}", mode="r", format="nut") as container:
            base = container.streams.video[0].time_base
            assert base is not None
            of_pictures = len(container.streams.video) - 1
            jpeg_pts, jpeg = None, b""
            for packet in container.demux():
                if packet.stream_index != of_pictures:
                    jpeg_pts, jpeg = packet.pts, bytes(packet)
                # A child that dies leaves half a picture behind.
                elif packet.size == PICTURE_BYTES and packet.pts is not None:
                    time_s = packet.pts * base.numerator / base.denominator
                    yield Decoded(time_s, bytes(packet), jpeg if packet.pts == jpeg_pts else None)
    except av.FFmpegError:
        # The pipe ended before a header or inside a frame: the exit code tells why.
        return


def _said(log: IO[bytes]) -> list[str]:
    log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
    return log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]


def ffmpeg_binary(which: Literal["bundled", "system"]) -> str:
    """The path of the ffmpeg to use.

    Raises:
        UserError: the system's was asked for and there is none.
    """
    if which == "bundled":
        # Found by its place: `get_ffmpeg_exe` would run it to see whether it does.
        (bundled,) = Path(imageio_ffmpeg.__file__).parent.glob("binaries/ffmpeg-*")
        return str(bundled)
    binary = shutil.which("ffmpeg")
    if binary is None:
        raise UserError("frame.ffmpeg: no ffmpeg on the PATH; install one or set it to 'bundled'")
    return binary
