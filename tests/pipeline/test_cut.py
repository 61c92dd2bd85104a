"""The clips that come of a source: which frames, what they show, and how cutting can end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest

from pipeline import decode as decoding
from pipeline.cut import CutClip, cut
from pipeline.frame import FrameSettings, geometry
from pipeline.outcomes import Failed
from pipeline.probe import probe
from shards.errors import UserError

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
H264 = ["-c:v", "libx264", "-preset", "ultrafast"]
PASS_GAPS = [*H264, "-fps_mode", "passthrough"]
BITS = 12

MakeVideo = Callable[..., Path]
Image = npt.NDArray[np.uint8]


def ffmpeg(*arguments: str | Path) -> None:
    command = [FFMPEG, "-nostdin", "-y", "-v", "error", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def clips_of(path: Path, **settings: object) -> list[CutClip]:
    return list(cut(path, probe(path), FrameSettings.model_validate(settings)))


def counting(rate: str, duration_s: float) -> str:
    """Frames that show their own number, as twelve bits side by side."""
    bits = "40+160*mod(floor(N/pow(2\\,floor(X/4)))\\,2)"
    return f"color=gray:size={4 * BITS}x28:rate={rate}:duration={duration_s},geq=lum='{bits}':cb=128:cr=128"


def numbers(clip: CutClip) -> list[int]:
    """The numbers that the frames of a clip show."""
    places = (np.arange(BITS) * 160 + 80) // BITS
    bits = clip.frames[:, 45, places] > 120
    return [int(number) for number in (bits * 2 ** np.arange(BITS)).sum(axis=1)]


def upright(clip: CutClip) -> Image:
    """The brightness of a clip's last picture, `[90, 160]`."""
    return clip.frames[-1, :90]


def colour(clip: CutClip) -> tuple[int, int, int]:
    """Y, Cb and Cr in the middle of a clip's last picture."""
    planes = clip.frames[-1, 90:].reshape(2, 45, 80)
    return int(clip.frames[-1, 45, 80]), int(planes[0, 22, 40]), int(planes[1, 22, 40])


def children() -> set[int]:
    """The ffmpegs that this process has started and not yet taken leave of."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            name, _, rest = stat.partition("(")[2].rpartition(")")
            if name.startswith("ffmpeg") and int(rest.split()[1]) == os.getpid():
                found.add(int(folder.name))
    return found


# Which frames


@pytest.mark.parametrize("rate", ["10", "15", "24", "25", "30000/1001", "30", "60"])
def test_three_clips_of_48_s_at_any_rate_each_frame_in_its_place(make_video: MakeVideo, rate: str) -> None:
    clips = clips_of(make_video("counting.mp4", counting(rate, 48)))
    assert [clip.first_frame for clip in clips] == [0, 160, 320]
    above, _, below = rate.partition("/")
    frame_s = int(below or 1) / int(above)
    for clip in clips:
        assert clip.frames.shape == (160, 135, 160)
        assert clip.frames.dtype == np.uint8
        assert clip.unique_frames == 160
        late_s = np.array(numbers(clip)) * frame_s - (clip.first_frame + np.arange(160)) / 10
        assert late_s.min() >= -0.0106
        assert late_s.max() < frame_s


@pytest.mark.parametrize(("duration_s", "count"), [(15.8, 0), (16, 1), (31.8, 1), (32, 2)])
def test_a_short_tail_is_left_out(make_video: MakeVideo, duration_s: float, count: int) -> None:
    clips = clips_of(make_video("tail.mp4", counting("30", duration_s)))
    assert [clip.first_frame for clip in clips] == [0, 160][:count]


@pytest.mark.parametrize("kind", ["mkv", "ts", "flv", "avi", "webm"])
def test_containers_that_round_time_stamps_give_the_same_frames(make_video: MakeVideo, kind: str) -> None:
    vp9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "500k"]
    out = vp9 if kind == "webm" else H264
    clips = clips_of(make_video(f"counting.{kind}", counting("30", 33), out))
    assert [numbers(clip) for clip in clips] == [list(range(0, 480, 3)), list(range(480, 960, 3))]


def test_a_late_first_time_stamp_is_the_start(make_video: MakeVideo) -> None:
    for offset in ("50000", "95430"):  # the second passes the 33-bit wrap of MPEG-TS midway
        late = make_video("late.ts", counting("15", 32), [*H264, "-output_ts_offset", offset])
        clips = clips_of(late)
        assert [clip.first_frame for clip in clips] == [0, 160]
        assert numbers(clips[1])[0] == 240


def test_variable_rate_is_placed_by_time(make_video: MakeVideo) -> None:
    """Ten seconds of 30 frames, then a frame each 0.2 s: number and time are no longer the same."""
    thinned = "select=lt(n\\,300)+not(mod(n\\,6))"
    (clip,) = clips_of(make_video("vfr.mp4", counting("30", 17), PASS_GAPS, thinned))
    assert numbers(clip) == [3 * slot if slot < 100 else slot // 2 * 6 for slot in range(160)]
    assert clip.unique_frames == 100 + 30


def test_a_short_gap_is_bridged_by_the_frame_before_it(make_video: MakeVideo) -> None:
    missing = "select=not(between(t\\,5.01\\,5.89))"
    (clip,) = clips_of(make_video("short-gap.mp4", counting("10", 16), PASS_GAPS, missing))
    assert clip.first_frame == 0
    assert numbers(clip) == [50 if 50 < slot < 59 else slot for slot in range(160)]
    assert clip.unique_frames == 152


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "flv"])
def test_a_long_gap_ends_the_clip_and_is_no_still(make_video: MakeVideo, kind: str) -> None:
    two_hours_later = "setpts=PTS+if(gte(T\\,20)\\,7200/TB\\,0)"
    clips = clips_of(make_video(f"long-gap.{kind}", counting("15", 40), PASS_GAPS, two_hours_later))
    assert [clip.first_frame for clip in clips] == [0, 72_200]
    assert numbers(clips[0])[0] == 0
    assert numbers(clips[1])[0] == 300
    assert [clip.unique_frames for clip in clips] == [160, 160]


def test_a_gap_of_little_more_than_a_second_ends_the_clip_too(make_video: MakeVideo) -> None:
    missing = "select=not(between(t\\,5.01\\,6.29))"
    clips = clips_of(make_video("gap.mp4", counting("10", 40), PASS_GAPS, missing))
    assert [clip.first_frame for clip in clips] == [63, 223]
    assert numbers(clips[0]) == list(range(63, 223))


@pytest.mark.parametrize("kind", ["ts", "flv"])
def test_recordings_laid_end_to_end_do_not_share_a_clip(
    make_video: MakeVideo, tmp_path: Path, kind: str
) -> None:
    """Time stamps begin anew midway; nothing is lost, and no clip shows both recordings."""
    one = make_video(f"one.{kind}", counting("15", 20), H264).read_bytes()
    both = tmp_path / f"both.{kind}"
    both.write_bytes(one + (one[13:] if kind == "flv" else one))
    clips = clips_of(both)
    assert [numbers(clip)[0] for clip in clips] == [0, 0]
    assert clips[1].first_frame > 200


def test_repeated_pictures_are_counted_once(make_video: MakeVideo) -> None:
    still = make_video("still.mp4", "color=gray:size=48x28:rate=10:duration=16")
    assert [clip.unique_frames for clip in clips_of(still)] == [1]
    halves = make_video("halves.mp4", counting("5", 16), H264, "fps=10")
    assert [clip.unique_frames for clip in clips_of(halves)] == [80]


def test_a_source_of_fewer_than_ten_frames_a_second_repeats_them(make_video: MakeVideo) -> None:
    clips = clips_of(make_video("slow.mp4", counting("5", 32)))
    assert [clip.first_frame for clip in clips] == [0, 160]
    assert numbers(clips[1]) == [80 + slot // 2 for slot in range(160)]
    assert [clip.unique_frames for clip in clips] == [80, 80]


def test_a_slide_show_has_no_clip(make_video: MakeVideo) -> None:
    assert clips_of(make_video("slides.mp4", counting("1/2", 60))) == []


def test_the_same_frames_each_time(make_video: MakeVideo) -> None:
    video = make_video("again.mp4", "testsrc2=size=64x36:rate=24:duration=17")
    first, again = clips_of(video), clips_of(video)
    assert [clip.frames.tobytes() for clip in first] == [clip.frames.tobytes() for clip in again]


@pytest.mark.parametrize(
    ("name", "out"),
    [
        ("a.webm", ["-c:v", "libsvtav1", "-preset", "12", "-crf", "10"]),
        ("b.mkv", ["-c:v", "libx265", "-preset", "ultrafast", "-crf", "5", "-pix_fmt", "yuv420p10le"]),
        ("c.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv444p12le"]),
        ("d.mov", ["-c:v", "png", "-pix_fmt", "rgb24"]),
        ("e.ogv", ["-c:v", "libtheora", "-q:v", "9"]),
        ("f.wmv", ["-c:v", "wmv2", "-q:v", "2"]),
        ("g.mp4", [*H264, "-movflags", "frag_keyframe+empty_moov"]),
    ],
)
def test_codecs(make_video: MakeVideo, name: str, out: list[str]) -> None:
    (clip,) = clips_of(make_video(name, counting("20", 16), out))
    assert numbers(clip) == list(range(0, 320, 2))


# What they show

GRAY = "color=gray:size=64x36:rate=10:duration=16"
CORNER = "drawbox=x=0:y=0:w=iw/4:h=ih/4:color=white:t=fill"


def bright_corners(clip: CutClip, box: tuple[int, int, int, int]) -> list[str]:
    x, y, width, height = box
    picture = upright(clip)[y : y + height, x : x + width]
    corners = {
        "top left": picture[4, 4],
        "top right": picture[4, -5],
        "bottom left": picture[-5, 4],
        "bottom right": picture[-5, -5],
    }
    return [name for name, luma in corners.items() if luma > 200]


@pytest.mark.parametrize(
    ("turn", "corner", "size"),
    [
        (["-display_rotation", "0"], "top left", (160, 90)),
        (["-display_rotation", "90"], "bottom left", (50, 90)),
        (["-display_rotation", "180"], "bottom right", (160, 90)),
        (["-display_rotation", "270"], "top right", (50, 90)),
        (["-display_hflip"], "top right", (160, 90)),
        (["-display_vflip"], "bottom left", (160, 90)),
        (["-display_rotation", "90", "-display_hflip"], "bottom right", (50, 90)),
        (["-display_rotation", "90", "-display_vflip"], "top left", (50, 90)),
    ],
)
def test_the_picture_comes_out_upright(
    make_video: MakeVideo, tmp_path: Path, turn: list[str], corner: str, size: tuple[int, int]
) -> None:
    turned = tmp_path / "turned.mp4"
    ffmpeg(*turn, "-i", make_video("corner.mp4", GRAY, H264, CORNER), "-c", "copy", turned)
    shown = subprocess.run(
        [FFMPEG, "-v", "error", "-i", turned, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"],
        check=True,
        capture_output=True,
    ).stdout
    by_ffmpeg = np.frombuffer(shown, np.uint8).reshape((36, 64) if size[0] == 160 else (64, 36))
    place = geometry(probe(turned), "pad").box
    (clip,) = clips_of(turned)
    assert bright_corners(clip, place) == [corner]
    vertical, horizontal = corner.split()
    assert by_ffmpeg[2 if vertical == "top" else -3, 2 if horizontal == "left" else -3] > 200
    assert (place.width, place.height) == size


@pytest.mark.parametrize("aspect", ["2", "1/2"])
def test_anamorphic_pixels_are_squared(make_video: MakeVideo, aspect: str) -> None:
    video = make_video("anamorphic.mp4", GRAY, H264, f"setsar={aspect}")
    (clip,) = clips_of(video)
    box = (0, 22, 160, 44) if aspect == "2" else (40, 0, 80, 90)
    assert geometry(probe(video), "pad").box == box
    assert shown_box(clip) == box


def shown_box(clip: CutClip) -> tuple[int, int, int, int]:
    """Where the frame is not black."""
    lit = upright(clip) > 40
    columns, rows = np.flatnonzero(lit.any(axis=0)), np.flatnonzero(lit.any(axis=1))
    return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


@pytest.mark.parametrize(
    ("fit", "picture", "box"),
    [
        ("pad", "4x3", (20, 0, 120, 90)),
        ("crop", "4x3", (0, 0, 160, 90)),
        ("stretch", "4x3", (0, 0, 160, 90)),
        ("pad", "21x9", (0, 10, 160, 68)),
        ("crop", "21x9", (0, 0, 160, 90)),
        ("stretch", "21x9", (0, 0, 160, 90)),
    ],
)
def test_bars_are_removed_before_the_picture_is_fitted(
    make_video: MakeVideo, fit: str, picture: str, box: tuple[int, ...]
) -> None:
    bars = {
        "4x3": "scale=48:36,setsar=1,pad=64:36:8:0,drawbox=x=8:y=0:w=4:h=36:color=white:t=fill",
        "21x9": "scale=84:36,setsar=1,pad=84:48:0:6,drawbox=x=0:y=6:w=84:h=4:color=white:t=fill",
    }
    video = make_video("bars.mp4", GRAY, [*H264, "-g", "20"], bars[picture])
    (clip,) = clips_of(video, fit=fit)
    assert geometry(probe(video), fit).box == box  # type: ignore[arg-type]
    assert shown_box(clip) == box
    x, y, width, height = box
    shown = upright(clip)[y : y + height, x : x + width]
    # The white line lies along the edge that `crop` cuts away.
    across = shown.mean(axis=0) if picture == "4x3" else shown.mean(axis=1)
    white = int((across > 200).sum())
    if picture == "4x3":
        assert white == pytest.approx(width * 4 / 48, abs=2)
    else:
        assert white == pytest.approx(height * 4 / 36, abs=2)


@pytest.mark.parametrize("size", ["2x2", "1x1", "3x3", "35x19", "1920x2", "2x480", "1000x10"])
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_odd_tiny_and_extreme_sizes(make_video: MakeVideo, size: str, fit: str) -> None:
    width, height = size.split("x")
    resize = f"scale={width}:{height},setsar=1"
    video = make_video("size.mkv", GRAY, ["-c:v", "ffv1", "-pix_fmt", "yuv444p"], resize)
    (clip,) = clips_of(video, fit=fit)
    box = geometry(probe(video), fit).box  # type: ignore[arg-type]
    assert shown_box(clip) == box
    assert all(number % 2 == 0 for number in box)
    assert int(upright(clip)[box.y, box.x]) == pytest.approx(126, abs=1)


def test_a_new_size_midway_changes_nothing(make_video: MakeVideo, tmp_path: Path) -> None:
    """Letterboxed, small and then large: the same part of the picture, without a gap."""
    parts = []
    for number, size in enumerate(("64:24,pad=64:36:0:6", "128:48,pad=128:72:0:12", "32:12,pad=32:18:0:3")):
        vf = f"{CORNER},scale={size}"
        out = [*H264, "-g", "10", "-output_ts_offset", str(16 * number)]
        parts.append(make_video(f"part{number}.ts", GRAY, out, vf).read_bytes())
    video = tmp_path / "sizes.ts"
    video.write_bytes(b"".join(parts))
    box = geometry(probe(video), "pad").box
    clips = clips_of(video)
    assert [clip.first_frame for clip in clips] == [0, 160, 320]
    assert [bright_corners(clip, box) for clip in clips] == [["top left"]] * 3
    assert [shown_box(clip) for clip in clips] == [box] * 3


@pytest.mark.parametrize("codec", ["h264", "mjpeg", "rgb"])
@pytest.mark.parametrize(("shade", "luma"), [("black", 16), ("white", 235)])
def test_black_and_white_end_in_limited_range(
    make_video: MakeVideo, codec: str, shade: str, luma: int
) -> None:
    source = f"color={shade}:size=64x36:rate=10:duration=16"
    out, vf = {
        "h264": ([*H264], "scale=out_range=full,format=yuvj420p"),
        "mjpeg": (["-c:v", "mjpeg", "-q:v", "2"], None),
        "rgb": (["-c:v", "png", "-pix_fmt", "rgb24"], None),
    }[codec]
    full = make_video("full.mov", source, out, vf)
    limited = make_video("limited.mp4", source, H264)
    assert colour(clips_of(full)[0]) == (luma, 128, 128)
    assert colour(clips_of(limited)[0]) == (luma, 128, 128)


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m", "bt470bg", "bt2020nc", "smpte240m", "fcc"])
@pytest.mark.parametrize(
    ("name", "expected"), [("red", (81, 90, 240)), ("lime", (145, 54, 34)), ("blue", (41, 240, 110))]
)
def test_colours_end_in_bt601(
    make_video: MakeVideo, matrix: str, name: str, expected: tuple[int, ...]
) -> None:
    source = f"color={name}:size=64x36:rate=10:duration=16,format=rgb24"
    to = f"scale=out_color_matrix={matrix}:out_range=limited,format=yuv420p,setparams=colorspace={matrix}"
    (clip,) = clips_of(make_video("matrix.mp4", source, [*H264, "-qp", "0"], to))
    assert colour(clip) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("size", ["64x36", "65x37"])
@pytest.mark.parametrize("tags", ["all", "transfer only"])
@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_tone_mapped(make_video: MakeVideo, size: str, tags: str, transfer: str) -> None:
    """Black stays black, a white wall is bright and gray, and a lamp is no brighter than white."""
    wall = {"smpte2084": 573, "arib-std-b67": 721}[transfer]  # 203 cd/m2, ITU-R BT.2408
    lumas = []
    for luma in (64, wall // 2, wall, 940):
        params = f"log-level=none:transfer={transfer}"
        colours = "color_primaries=bt2020:colorspace=bt2020nc:" if tags == "all" else ""
        params += ":colorprim=bt2020:colormatrix=bt2020nc" if tags == "all" else ""
        source = (
            f"color=black:size={size}:rate=10:duration=16,format=yuv444p10le,"
            f"geq=lum={luma}:cb=512:cr=512,setparams={colours}color_trc={transfer}:range=tv"
        )
        out = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", params]
        (clip,) = clips_of(make_video("hdr.mkv", source, out))
        y, cb, cr = colour(clip)
        assert (cb, cr) == pytest.approx((128, 128), abs=1)
        lumas.append(y)
    black, dark, white, lamp = lumas
    assert black == pytest.approx(16, abs=1)
    assert 20 < dark < 120
    assert 180 < white < 235
    assert white < lamp <= 235


def test_interlaced_video_has_no_combs(make_video: MakeVideo) -> None:
    source = "color=black:size=160x96:rate=50:duration=16.2"
    bar = "geq=lum='if(lt(mod(X+200*T\\,40)\\,20)\\,235\\,16)':cb=128:cr=128"
    weave = f"{bar},crop=160:90:0:0,tinterlace=interleave_top,fieldorder=tff"
    out = ["-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ilme+ildct"]
    video = make_video("fields.ts", source, out, weave)
    found = probe(video)
    assert found.interlaced
    (clip,) = cut(video, found, FrameSettings())
    (woven,) = cut(video, replace(found, interlaced=False), FrameSettings())
    assert combs(clip) < combs(woven) / 4


def combs(clip: CutClip) -> float:
    """How much a line differs from the mean of its neighbours."""
    luma = clip.frames[:, :90].astype(float)
    return float(np.abs(luma[:, 1:-1] - (luma[:, :-2] + luma[:, 2:]) / 2).mean())


# Hostile and broken files


@pytest.fixture
def good(make_video: MakeVideo) -> Path:
    """Fifty seconds; three clips."""
    return make_video("good.mp4", counting("15", 50), [*H264, "-g", "30", "-movflags", "+faststart"])


def damaged(good: Path, folder: Path, change: Callable[[bytearray], None]) -> Path:
    content = bytearray(good.read_bytes())
    change(content)
    path = folder / "damaged.mp4"
    path.write_bytes(content)
    return path


def test_the_clips_before_the_end_of_a_truncated_file_are_good(good: Path, tmp_path: Path) -> None:
    def truncate(content: bytearray) -> None:
        del content[len(content) * 3 // 4 :]

    whole = clips_of(good)
    clips = clips_of(damaged(good, tmp_path, truncate))
    assert [clip.first_frame for clip in clips] == [0, 160]
    for clip, same in zip(clips, whole, strict=False):
        assert np.array_equal(clip.frames, same.frames)


def test_the_clips_on_both_sides_of_garbage_are_good(make_video: MakeVideo, tmp_path: Path) -> None:
    good = make_video("good.ts", counting("15", 66), [*H264, "-g", "15"])

    def overwrite(content: bytearray) -> None:
        middle = len(content) * 24 // 66
        content[middle : middle + 5000] = random.Random(0).randbytes(5000)

    whole, clips = clips_of(good), clips_of(damaged(good, tmp_path, overwrite))
    assert np.array_equal(clips[0].frames, whole[0].frames)
    last = clips[-1]
    assert last.first_frame > 240
    # Behind the next key frame each slot shows the first frame of 15 a second that is not too early.
    slots = last.first_frame + np.arange(40, 160)
    assert numbers(last)[40:] == list(np.ceil(slots * 1.5))


@pytest.mark.parametrize("seed", range(10))
def test_flipped_bits_end_in_clips_or_a_known_failure(good: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    found = probe(good)

    def flip(content: bytearray) -> None:
        for _ in range(40):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)

    try:
        clips = list(cut(damaged(good, tmp_path, flip), found, FrameSettings()))
    except Failed as failed:
        assert failed.failure in ("unreadable", "crashed")  # noqa: PT017 - either may come
    else:
        assert all(clip.frames.shape == (160, 135, 160) for clip in clips)
    assert children() == set()


def test_bits_flipped_late_leave_the_first_clip_alone(good: Path, tmp_path: Path) -> None:
    def flip(content: bytearray) -> None:
        for place in range(len(content) // 2, len(content), 199):
            content[place] ^= 0x55

    first = clips_of(damaged(good, tmp_path, flip))[0]
    assert np.array_equal(first.frames, clips_of(good)[0].frames)


@pytest.mark.parametrize("content", [b"", b"text\n" * 50, bytes(5000)], ids=["empty", "text", "zeros"])
def test_what_is_no_video_is_unreadable(good: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(Failed) as failed:
        list(cut(path, probe(good), FrameSettings()))
    assert failed.value.failure == "unreadable"
    assert failed.value.detail.startswith("no frame could be decoded: ")


@pytest.mark.parametrize(
    "name",
    [
        "two words.mp4",
        'quote\'s "n" `ticks`.mp4',
        "日本語 ünï.mp4",
        "-y.mp4",
        "--help",
        "%03d.mp4",
        "a;b|c&d$(e).mp4",
        "concat:a|b.mp4",
        "http:..x.mp4",
        "line\nbreak.mp4",
        os.fsdecode(b"\xff\xfe.mp4"),
    ],
)
def test_file_names_mean_nothing(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_bytes(good.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert [clip.first_frame for clip in clips_of(Path(name))] == [0, 160, 320]


def test_a_system_without_ffmpeg_is_told_so(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="no ffmpeg on the PATH"):
        clips_of(good, ffmpeg="system")


# The child process


@pytest.fixture
def long(make_video: MakeVideo) -> Path:
    """Ten minutes; ffmpeg is still at it when the first clip is there."""
    return make_video("long.mp4", "testsrc2=size=16x16:rate=10:duration=600")


def started(path: Path) -> tuple[Iterator[CutClip], int]:
    """A cut that has given one clip, and the process id of its ffmpeg."""
    before = children()
    clips = cut(path, probe(path), FrameSettings())
    next(clips)
    (child,) = children() - before
    return clips, child


def test_memory_holds_one_clip_whatever_the_length(long: Path) -> None:
    found, count = probe(long), 0
    tracemalloc.start()
    try:
        for clip in cut(long, found, FrameSettings()):
            count += 1
            size_bytes = clip.frames.nbytes
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 37
    # The clip that is handed out, the one that is being filled, and little else.
    assert peak_bytes < 2.5 * size_bytes


def test_a_killed_ffmpeg_is_a_crash(long: Path) -> None:
    clips, child = started(long)
    os.kill(child, signal.SIGKILL)
    with pytest.raises(Failed) as failed:
        list(clips)
    assert failed.value.failure == "crashed"
    assert "signal 9" in failed.value.detail
    assert child not in children()


def test_a_deadline_that_passes_is_a_timeout(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_MIN_DEADLINE_S", 0.01)
    monkeypatch.setattr(decoding, "_DEADLINE_PER_SOURCE_S", 0.0)
    before = children()
    with pytest.raises(Failed) as failed:
        clips_of(long)
    assert failed.value.failure == "timeout"
    assert children() == before


def test_a_duration_beyond_belief_is_no_deadline_beyond_belief(good: Path) -> None:
    boasting = replace(probe(good), duration_s=1e18)
    assert len(list(cut(good, boasting, FrameSettings()))) == 3


def test_memory_of_the_child_is_limited(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_MAX_MEMORY_BYTES", 2**24)
    with pytest.raises(Failed) as failed:
        clips_of(good)
    assert failed.value.failure in ("crashed", "unreadable")


def test_closing_early_leaves_no_child(long: Path) -> None:
    clips, child = started(long)
    clips.close()  # type: ignore[attr-defined]
    assert child not in children()


def test_an_error_of_the_consumer_leaves_no_child(long: Path) -> None:
    before = children()
    with pytest.raises(ZeroDivisionError):
        list(map(lambda clip: 1 / clip.first_frame, cut(long, probe(long), FrameSettings())))  # noqa: C417
    assert children() == before
