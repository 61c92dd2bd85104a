"""Wide frames: which frames they show, their shape, and that the clips do not know of them."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from filters.base import ClipFrames, Scorer, load_scorers, measure
from pipeline.config import BuildConfig, load_config
from pipeline.cut import CutClip, cut
from pipeline.decode import decode
from pipeline.engine import all_parts
from pipeline.frame import FrameSettings, wide_size
from pipeline.ingest import MeasureUnit, Unit, ingest, measure_pack, score_name
from pipeline.probe import Probe, probe
from pipeline.sources.files import FilesSource
from pipeline.sources.web import WebSource
from shards.errors import UserError
from shards.index import read_index
from shards.records import ContentBox
from shards.store import Store
from shards.wide import WideFrame, WideReader, WideWriter, wide_name

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
H264 = ["-c:v", "libx264", "-preset", "ultrafast"]
PASS_GAPS = [*H264, "-fps_mode", "passthrough"]
BITS = 12
WIDE = FrameSettings(wide=True)

MakeVideo = Callable[..., Path]
Picture = npt.NDArray[np.uint8]


def counting(rate: str, duration_s: float, size: str = "480x280") -> str:
    """Frames that show their own number, as twelve bits side by side."""
    width = int(size.partition("x")[0])
    bits = f"40+160*mod(floor(N/pow(2\\,floor(X*{BITS}/{width})))\\,2)"
    return f"color=gray:size={size}:rate={rate}:duration={duration_s},geq=lum='{bits}':cb=128:cr=128"


def clips_of(path: Path, **settings: object) -> list[CutClip]:
    return list(cut(path, probe(path), FrameSettings.model_validate({"wide": True} | settings)))


def picture(wide: WideFrame) -> Picture:
    return np.asarray(Image.open(io.BytesIO(wide.jpeg)).convert("RGB"))


def number(row: Picture) -> int:
    """The number that a row of brightnesses shows."""
    places = (np.arange(BITS) * row.size + row.size // 2) // BITS
    return int(((row[places] > 120) * 2 ** np.arange(BITS)).sum())


def of_frame(clip: CutClip, frame: int) -> int:
    return number(clip.frames[frame, 45])


def of_wide(wide: WideFrame) -> int:
    shown = picture(wide)
    return number(shown[len(shown) // 2, :, 1])


# Which frames


@pytest.mark.parametrize("rate", ["10", "24", "25", "30000/1001", "60"])
def test_four_a_clip_each_of_the_frame_it_says(make_video: MakeVideo, rate: str) -> None:
    clips = clips_of(make_video("counting.mp4", counting(rate, 48, "240x140")))
    assert [clip.first_frame for clip in clips] == [0, 160, 320]
    for clip in clips:
        assert [wide.frame for wide in clip.wide] == [0, 40, 80, 120]
        assert [of_wide(wide) for wide in clip.wide] == [of_frame(clip, wide.frame) for wide in clip.wide]


def test_the_clips_are_the_same_with_and_without(make_video: MakeVideo) -> None:
    path = make_video(
        "test.mp4", "testsrc2=size=640x360:rate=30:duration=33", vf="setparams=colorspace=bt709"
    )
    with_wide, without = clips_of(path), clips_of(path, wide=False)
    assert [clip.wide for clip in without] == [(), ()]
    for one, other in zip(with_wide, without, strict=True):
        assert (one.first_frame, one.unique_frames) == (other.first_frame, other.unique_frames)
        assert np.array_equal(one.frames, other.frames)
    assert clips_of(path)[1].wide == with_wide[1].wide


@pytest.mark.parametrize("gap_s", [1.3, 2.0, 7200.0])
def test_behind_a_gap_they_belong_to_the_next_clip(make_video: MakeVideo, gap_s: float) -> None:
    later = f"setpts=PTS+if(gte(T\\,21.7)\\,{gap_s}/TB\\,0)"
    clips = clips_of(make_video("gap.mp4", counting("15", 60, "240x140"), PASS_GAPS, later))
    assert [clip.first_frame for clip in clips] == [0, round((21.7 + gap_s) * 10), round((37.7 + gap_s) * 10)]
    for clip in clips:
        assert 3 <= len(clip.wide) <= 5
        assert [of_wide(wide) for wide in clip.wide] == [of_frame(clip, wide.frame) for wide in clip.wide]


def test_a_bridged_gap_shows_the_frame_that_was_there(make_video: MakeVideo) -> None:
    missing = "select=not(between(t\\,3.91\\,4.79))"
    (clip,) = clips_of(make_video("short-gap.mp4", counting("10", 16, "240x140"), PASS_GAPS, missing))
    assert [wide.frame for wide in clip.wide] == [0, 48, 80, 120]
    assert [of_wide(wide) for wide in clip.wide] == [0, 48, 80, 120]


def test_a_source_too_short_for_a_clip_gives_none(make_video: MakeVideo) -> None:
    short = make_video("short.mp4", counting("10", 0.5, "240x140"))
    assert clips_of(short) == []
    assert [frame.jpeg is not None for frame in decode(short, probe(short), WIDE)] == [True, *[False] * 4]


def test_a_size_that_changes_midway_gives_no_more_of_them(make_video: MakeVideo, tmp_path: Path) -> None:
    sizes = ["240x140", "480x280"] * 4
    parts = [
        make_video(f"{n}.ts", f"testsrc2=size={size}:rate=10:duration=2") for n, size in enumerate(sizes)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    for clip in clips_of(joined):
        assert 3 <= len(clip.wide) <= 5
        assert len({picture(wide).shape for wide in clip.wide}) == 1


# What they look like


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ("320x180", (320, 180)),
        ("640x360", (640, 360)),
        ("1280x720", (640, 360)),
        ("480x360", (480, 360)),
        ("360x640", (360, 640)),
        ("540x960", (360, 640)),
        ("2000x100", (640, 32)),
    ],
)
def test_they_keep_the_shape_and_are_never_enlarged(
    make_video: MakeVideo, size: str, shown: tuple[int, int]
) -> None:
    (clip,) = clips_of(make_video("shape.mp4", f"testsrc2=size={size}:rate=10:duration=16"))
    assert {Image.open(io.BytesIO(wide.jpeg)).size for wide in clip.wide} == {shown}


@pytest.mark.parametrize(("aspect", "shown"), [("2", (480, 140)), ("1/2", (240, 280))])
def test_anamorphic_pixels_are_squared_by_making_less_of_them(
    make_video: MakeVideo, aspect: str, shown: tuple[int, int]
) -> None:
    path = make_video("sar.mp4", counting("10", 16), vf=f"setsar={aspect}")
    (clip,) = clips_of(path)
    assert {Image.open(io.BytesIO(wide.jpeg)).size for wide in clip.wide} == {shown}
    assert of_wide(clip.wide[2]) == 80


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_they_are_upright(make_video: MakeVideo, tmp_path: Path, turned: int) -> None:
    corner = "color=gray:size=320x180:rate=10:duration=16,drawbox=w=160:h=90:color=red:t=fill"
    turned_path = tmp_path / "turned.mp4"
    command = [FFMPEG, "-v", "error", "-display_rotation", str(turned)]
    subprocess.run([*command, "-i", make_video("corner.mp4", corner), "-c", "copy", turned_path], check=True)
    (clip,) = clips_of(turned_path)
    shown = picture(clip.wide[0])
    assert shown.shape == ((320, 180, 3) if turned != 180 else (180, 320, 3))
    height, width, _ = shown.shape
    red = {90: (0.75, 0.25), 180: (0.75, 0.75), 270: (0.25, 0.75)}[turned]
    assert shown[int(height * red[0]), int(width * red[1]), 0] > 200
    assert shown[int(height * (1 - red[0])), int(width * (1 - red[1])), 0] < 150


def test_bars_are_gone_and_colours_are_those_of_the_source(make_video: MakeVideo) -> None:
    bars = "color=0xC08040:size=400x300:rate=10:duration=16,pad=640:360:120:30,setparams=colorspace=bt709"
    convert = "scale=out_color_matrix=bt709"
    (clip,) = clips_of(make_video("bars.mp4", bars, vf=convert))
    shown = picture(clip.wide[0])
    assert shown.shape[:2] == (300, 400)
    assert np.abs(shown.astype(int) - (0xC0, 0x80, 0x40)).max() <= 6


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_they_show_what_the_clip_shows(make_video: MakeVideo, fit: str) -> None:
    (clip,) = clips_of(make_video("fit.mp4", "testsrc2=size=480x360:rate=10:duration=16"), fit=fit)
    assert picture(clip.wide[0]).shape == ((270, 480, 3) if fit == "crop" else (360, 480, 3))


def test_extreme_shapes_have_a_size_too() -> None:
    flat = Probe(
        *(1.0, 4096, 2, 30.0, "h264", Fraction(1, 100_000), False, 90, False, "bt709", False, False),
        ContentBox(0, 0, 4096, 2),
    )
    for probed in (flat, replace(flat, pixel_aspect=Fraction(100_000))):
        width, height = wide_size(probed, "pad")
        assert 2 <= width <= 640
        assert 2 <= height <= 640


# What is kept


@pytest.fixture(scope="module")
def two_clips(make_video: MakeVideo) -> Path:
    return make_video("two.mp4", "testsrc2=size=640x360:rate=30:duration=33")


def ingested(video: Path, folder: Path, **settings: object) -> tuple[Store, str]:
    source = FilesSource(path=str(video))
    found = next(iter(source.discover(pytest.fail)))
    frame = FrameSettings.model_validate(settings)
    scorers = ("motion", "text_area", "faces") if frame.wide else ("motion",)
    ended = all_parts(ingest(Unit(str(folder), found.video, source, frame, scorers, "test")))
    assert ended.pack
    return Store(folder), ended.pack


def test_without_them_nothing_is_kept(two_clips: Path, tmp_path: Path) -> None:
    store, pack = ingested(two_clips, tmp_path)
    assert not store.exists(wide_name(pack))
    assert len(store.list("packs")) == 2


def test_which_they_are_is_kept_and_measured_again_they_give_the_same(
    two_clips: Path, tmp_path: Path
) -> None:
    store, pack = ingested(two_clips, tmp_path, wide=True)
    with WideReader(store, pack) as wide:
        assert [[w.frame for w in wide.frames(p.clip.key)] for p in read_index(store, pack)] == [
            [0, 40, 80, 120]
        ] * 2
    for scorer in ("motion", "text_area", "faces"):
        name = score_name(scorer, pack)
        before = store.read(name)
        store.remove(name)
        assert measure_pack(MeasureUnit(str(tmp_path), pack, (scorer,))) == 2
        assert store.read(name) == before


def test_a_wide_scorer_over_a_pack_without_them_is_told_in_one_line(two_clips: Path, tmp_path: Path) -> None:
    _, pack = ingested(two_clips, tmp_path)
    with pytest.raises(UserError, match=r"scorer text_area looks at wide frames.*wide: true"):
        measure_pack(MeasureUnit(str(tmp_path), pack, ("motion", "text_area")))


def test_a_damaged_object_is_told_in_one_line(two_clips: Path, tmp_path: Path) -> None:
    store, pack = ingested(two_clips, tmp_path, wide=True)
    store.put(wide_name(pack), b"PAR1 and no more")
    with pytest.raises(UserError, match=r"wide\.parquet: is damaged"):
        measure_pack(MeasureUnit(str(tmp_path), pack, ("text_area",)))


def test_many_clips_are_written_a_few_at_a_time_and_read_in_any_order(tmp_path: Path) -> None:
    store = Store(tmp_path)
    wanted = {
        f"clip_{n:08d}": tuple(WideFrame(40 * k, b"%d %d" % (n, k)) for k in range(n % 5)) for n in range(50)
    }
    for name in ("packs/a.tar", "packs/b.tar"):
        with store.stage() as staged:
            with WideWriter(staged.file) as writer:
                for key, frames in wanted.items():
                    writer.append(key, frames)
            staged.publish(wide_name(name))
    assert store.read(wide_name("packs/a.tar")) == store.read(wide_name("packs/b.tar"))
    with WideReader(store, "packs/a.tar") as reader:
        assert {key: reader.frames(key) for key in reversed(wanted)} == wanted
        assert reader.frames("another") == ()


def test_a_scorer_that_looks_at_them_is_never_given_none() -> None:
    (scorer,) = load_scorers(("text_area",))
    assert isinstance(scorer, Scorer)
    with pytest.raises(ValueError, match="without wide frames"):
        measure([scorer], ClipFrames(np.zeros((160, 135, 160), np.uint8), ContentBox(0, 0, 160, 90), 10))


# When they are made


def test_a_wide_scorer_or_the_setting_makes_them_and_cuts_anew(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    def config(**blocks: object) -> BuildConfig:
        return load_config(write_config([{"kind": "files", "path": str(tmp_path)}], **blocks))

    plain = config()
    by_scorer, by_setting = config(scorers=["motion", "text_area"]), config(frame={"wide": True})
    assert [c.wide for c in (plain, by_scorer, by_setting)] == [False, True, True]
    assert by_scorer.settings_hash == by_setting.settings_hash != plain.settings_hash
    assert by_setting.recipe == plain.recipe
    assert config(frame={"wide": False}).settings_hash == plain.settings_hash


@pytest.mark.parametrize(("asked_px", "got_px"), [(144, 360), (360, 360), (720, 720)])
def test_web_renditions_are_large_enough_for_them(asked_px: int, got_px: int) -> None:
    source = WebSource(urls=("https://example.org/",), min_height_px=asked_px)
    assert source.for_wide().min_height_px == got_px
    assert source.for_wide().hash == source.hash
