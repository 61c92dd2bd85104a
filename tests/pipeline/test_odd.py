"""Odd sources end to end, and what is told of the frames that are in no clip."""

from __future__ import annotations

import resource
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cut import CutReport, cut
from pipeline.engine import all_parts
from pipeline.frame import FrameSettings
from pipeline.ingest import Ended, Unit, ingest
from pipeline.memory import at_most_more
from pipeline.probe import probe
from pipeline.sources.files import FilesSource
from shards.index import read_index
from shards.records import Clip
from shards.store import Store

MakeVideo = Callable[..., Path]
H264 = ["-c:v", "libx264", "-preset", "ultrafast"]
# No frame is like the one before.
EACH_ANOTHER, LUMA = "color=gray:size=64x36", "geq=lum='16+mod(N*7\\,200)':cb=128:cr=128"


def ingested(path: Path, dataset: Path) -> tuple[Ended, list[Clip]]:
    """How a file ends that is found through the `files` source, and its clips."""
    problems: list[str] = []
    source = FilesSource(path=str(path))
    (found,) = source.discover(problems.append)
    assert problems == []
    unit = Unit(str(dataset), found.video, source, FrameSettings(), ("motion", "cuts"), "settings")
    ended = all_parts(ingest(unit))
    store = Store(dataset)
    packs = [name for name in store.list("packs") if name.endswith(".tar")]
    return ended, [placed.clip for pack in packs for placed in read_index(store, pack)]


@pytest.mark.parametrize(
    "name",
    [
        "two words.mp4",
        'quote\'s "n" `ticks`.mp4',
        "日本語 ünï \N{PILE OF POO}.mp4",
        "line\nbreak.mp4",
        "-y.mp4",
        "--help",
        "a.b..c.mp4",
        "no suffix",
        "100%d.mp4",
        "[1]*?.mp4",
        "concat:a|b.mp4",
        "$(touch x);&.mp4",
    ],
)
def test_a_file_of_any_name_is_ingested(moving: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(moving, folder / name)
    ended, clips = ingested(folder, tmp_path / "dataset")
    assert (ended.state, ended.clips, len(clips)) == ("ingested", 2, 2)


@pytest.mark.parametrize("name", [".hidden.mp4", "..mp4", "...", "-.mp4"])
def test_a_dot_file_is_taken_when_it_is_named(moving: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(moving, tmp_path / name)
    ended, _ = ingested(tmp_path / name, tmp_path / "dataset")
    assert (ended.state, ended.clips) == ("ingested", 2)


@pytest.mark.parametrize("out", [H264, ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]])
def test_4k(make_video: MakeVideo, tmp_path: Path, out: list[str]) -> None:
    video = make_video("4k.mkv", "color=0x336699:size=3840x2160:rate=10:duration=17", out)
    ended, (clip,) = ingested(video, tmp_path)
    assert (ended.state, clip.content_box) == ("ingested", (0, 0, 160, 90))


def test_a_frozen_tail_shows_in_its_unique_frames(make_video: MakeVideo, tmp_path: Path) -> None:
    frozen = "trim=duration=20,tpad=stop_mode=clone:stop_duration=28"
    video = make_video(
        "frozen.mp4", f"{EACH_ANOTHER}:rate=30:duration=20,{LUMA}", [*H264, "-qp", "0"], frozen
    )
    _, clips = ingested(video, tmp_path)
    assert [clip.unique_frames for clip in clips] == [160, 41, 1]


def test_a_last_frame_that_lasts_is_not_drawn_out(make_video: MakeVideo, tmp_path: Path) -> None:
    """The container lets it stand for half a minute; no more than a second is made of that."""
    stands = "setpts=PTS+if(gte(N\\,299)\\,30/TB\\,0)"
    source = f"{EACH_ANOTHER}:rate=15:duration=20,{LUMA}"
    video = make_video("stands.mp4", source, [*H264, "-fps_mode", "passthrough"], stands)
    ended, clips = ingested(video, tmp_path)
    assert [clip.unique_frames for clip in clips] == [160]
    assert ended.dropped_frames < 60


@pytest.mark.parametrize(
    ("duration_s", "gap_s", "dropped"), [(16, 0, 0), (20, 0, 40), (47.9, 0, 159), (40, 7200, 40 + 40)]
)
def test_frames_in_no_clip_are_counted(
    make_video: MakeVideo, tmp_path: Path, duration_s: float, gap_s: int, dropped: int
) -> None:
    """The gap, where there is one, begins after 20 s; its hours are not among them."""
    later = f"setpts=PTS+if(gte(T\\,20)\\,{gap_s}/TB\\,0)"
    source = f"testsrc2=size=64x36:rate=30:duration={duration_s}"
    video = make_video("rest.mp4", source, [*H264, "-fps_mode", "passthrough"], later)
    ended, clips = ingested(video, tmp_path)
    assert ended.dropped_frames == dropped
    report = CutReport()
    assert len(list(cut(video, probe(video), FrameSettings(), report))) == len(clips)
    assert report.dropped_frames == dropped


# Memory of a look

ASKS_FOR_2_GB = (16_000, 16_000)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    return body + struct.pack(">I", zlib.crc32(body))


def test_a_picture_of_gigabytes_is_refused_before_it_is_made(make_video: MakeVideo, tmp_path: Path) -> None:
    """A tiny file whose pictures say that they are 16,000 pixels wide and high."""
    out = ["-c:v", "png", "-pix_fmt", "rgba64be"]
    small = make_video("small.mkv", "testsrc2=size=64x36:rate=10:duration=2", out).read_bytes()
    assert png_header(64, 36) in small
    huge = tmp_path / "huge.mkv"
    huge.write_bytes(small.replace(png_header(64, 36), png_header(*ASKS_FOR_2_GB)))
    look = """
import sys
from pathlib import Path
from pipeline.outcomes import Failed
from pipeline.probe import probe
try:
    probe(Path(sys.argv[1]))
except Failed as failed:
    print(failed.state)
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    told = subprocess.run(
        [sys.executable, "-c", look, huge], capture_output=True, text=True, check=True
    ).stdout.split()
    assert told[0] == "failed:unreadable"
    assert int(told[1]) < 500_000  # kB at its peak; the picture alone has 2,000,000


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 2**34))
def test_a_limit_of_memory_ends_with_its_block(more_bytes: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with at_most_more(more_bytes + 2**26):
        assert resource.getrlimit(resource.RLIMIT_AS)[0] > more_bytes
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_past_a_limit_of_memory_allocations_fail() -> None:
    with pytest.raises(MemoryError), at_most_more(2**28):
        bytearray(2**30)
    assert len(bytearray(2**30)) == 2**30
