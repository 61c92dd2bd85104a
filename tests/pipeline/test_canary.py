"""Files that name another file of this machine: it is never opened.

The other file is a named pipe that nobody writes to. Whoever opens it to read waits there, so what
comes back has not opened it; and whoever opens it to write gets through as soon as a reader comes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import pytest

from pipeline.cut import cut
from pipeline.frame import FrameSettings
from pipeline.outcomes import Failed, Rejected
from pipeline.probe import probe

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()

MakeVideo = Callable[..., Path]

FILES = {
    "hls": ("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{place}\n#EXT-X-ENDLIST\n", "failed:unsafe"),
    "hls with a key": (
        '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI="{place}"\n'
        "#EXTINF:4,\n{place}\n#EXT-X-ENDLIST\n",
        "failed:unsafe",
    ),
    "concat": ("ffconcat version 1.0\nfile '{place}'\n", "failed:unsafe"),
    "concat without its name": ("file '{place}'\n", "failed:unreadable"),
    "dash": (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT4S"><Period>'
        '<AdaptationSet mimeType="video/mp2t"><Representation id="1" bandwidth="1"><BaseURL>{place}'
        "</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "failed:unsafe",
    ),
    "sdp": ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nu={place}\r\nt=0 0\r\n", "failed:unsafe"),
    "smil": ('<smil><body><video src="{place}"/></body></smil>', "failed:unsafe"),
    "asx": ('<ASX version="3.0"><entry><ref href="{place}"/></entry></ASX>', "failed:unsafe"),
    "xspf": (
        "<playlist><trackList><track><location>{place}</location></track></trackList></playlist>",
        "failed:unsafe",
    ),
    "metadata": (";FFMETADATA1\ntitle={place}\n[STREAM]\nfilename={place}\n", "failed:unreadable"),
    "avisynth": ('DirectShowSource("{place}")\n', "failed:unreadable"),
    "subtitles": ("1\n00:00:00,000 --> 00:00:04,000\n{place}\n", "failed:unreadable"),
}
PLACES = ["{path}", "file:{path}", "subfile,,start,0,end,0,,:{path}", "concat:{path}|{path}", "fd:{path}"]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    path = tmp_path / "canary.ts"
    os.mkfifo(path)
    return path


def state(path: Path, as_if: Path) -> str:
    """How a file ends: by its look, and cut as if it had the look of a good video."""
    with pytest.raises((Failed, Rejected)) as looked:
        probe(path)
    with pytest.raises(Failed, match="no frame could be decoded"):
        list(cut(path, probe(as_if), FrameSettings()))
    return looked.value.state  # type: ignore[no-any-return]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", FILES)
def test_what_a_file_names_stays_unread(
    canary: Path, moving: Path, tmp_path: Path, kind: str, place: str
) -> None:
    text, expected = FILES[kind]
    dressed = tmp_path / "dressed.mp4"
    dressed.write_text(text.format(place=place.format(path=canary)))
    assert state(dressed, moving) == expected


def test_a_name_that_is_a_pattern_opens_no_neighbour(
    moving: Path, make_video: MakeVideo, tmp_path: Path
) -> None:
    still = make_video("still.png", "color=red:size=64x36", ["-frames:v", "1", "-update", "1"])
    for number in range(3):
        os.mkfifo(tmp_path / f"frame{number}.png")
    pattern = tmp_path / "frame%d.png"
    pattern.write_bytes(still.read_bytes())
    assert state(pattern, moving) == "failed:unreadable"


def atom(name: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + name + content


@pytest.mark.parametrize("kind", [b"url ", b"urn ", b"cios"])
def test_a_movie_that_names_where_its_frames_are_is_not_followed(
    canary: Path, make_video: MakeVideo, tmp_path: Path, kind: bytes
) -> None:
    """Its frames are taken from where the index says, in the file itself."""
    video = make_video("a.mp4", "testsrc2=size=64x36:rate=15:duration=17")
    url = b"file://" + str(canary).encode() + b"\0"
    entry = atom(kind, bytes(4) + url)
    whole, here = video.read_bytes(), atom(b"url ", bytes(3) + b"\1")
    assert whole.count(here) == 1
    grown = bytearray(whole.replace(here, entry))
    # The index lies behind the frames, so that it may grow without moving them.
    place = 0
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        place = whole.index(name, place)
        size = int.from_bytes(whole[place - 4 : place], "big") + len(entry) - len(here)
        grown[place - 4 : place] = size.to_bytes(4, "big")
    path = tmp_path / "elsewhere.mp4"
    path.write_bytes(grown)
    (clip,) = cut(path, probe(path), FrameSettings())
    (same,) = cut(video, probe(video), FrameSettings())
    assert clip.frames.tobytes() == same.frames.tobytes()


@pytest.mark.parametrize("kind", ["hls", "hls with a key", "concat"])
def test_the_canary_sings(canary: Path, tmp_path: Path, kind: str) -> None:
    """An ffmpeg that is not held back opens it."""
    dressed = tmp_path / "dressed.mp4"
    dressed.write_text(FILES[kind][0].format(place=canary))
    picky = ["-f", "hls", "-extension_picky", "0"] if kind.startswith("hls") else ["-safe", "0"]
    command = [FFMPEG, "-nostdin", "-v", "error", *picky, "-i", str(dressed), "-f", "null", "-"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as plain:
        canary.open("wb").close()  # returns when a reader has come
        plain.kill()
