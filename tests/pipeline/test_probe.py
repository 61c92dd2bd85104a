"""What a source is said to be: real videos, and files that only look like one."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import imageio_ffmpeg
import pytest

from pipeline import decode as decoding
from pipeline.frame import FrameSettings
from pipeline.outcomes import Failed, Rejected
from pipeline.probe import probe
from shards.records import ContentBox

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
H264 = ["-c:v", "libx264", "-preset", "ultrafast"]
MOVING = "testsrc2=size=64x36:rate=15:duration=4"
PASS_GAPS = [*H264, "-fps_mode", "passthrough"]

MakeVideo = Callable[..., Path]


def ffmpeg(*arguments: str | Path) -> None:
    command = [FFMPEG, "-nostdin", "-y", "-v", "error", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


# What the file says of itself


@pytest.mark.parametrize(
    ("name", "out", "codec"),
    [
        ("a.mp4", H264, "h264"),
        ("b.ts", H264, "h264"),
        ("c.flv", H264, "h264"),
        ("d.webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"], "vp9"),
        ("e.webm", ["-c:v", "libsvtav1", "-preset", "12"], "av1"),
        ("f.mkv", ["-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"], "hevc"),
        ("g.avi", ["-c:v", "mjpeg"], "mjpeg"),
        ("h.wmv", ["-c:v", "wmv2"], "wmv2"),
        ("i.ogv", ["-c:v", "libtheora"], "theora"),
        ("j.mov", ["-c:v", "png"], "png"),
    ],
)
def test_size_rate_duration_and_codec(make_video: MakeVideo, name: str, out: list[str], codec: str) -> None:
    found = probe(make_video(name, MOVING, out))
    assert (found.width, found.height, found.codec) == (64, 36, codec)
    assert found.fps == pytest.approx(15)
    assert found.duration_s == pytest.approx(4, abs=0.1)
    assert found.picture == (0, 0, 64, 36)
    assert (found.pixel_aspect, found.rotation_deg, found.upside_down) == (1, 0, False)
    assert not found.interlaced
    assert not found.hdr


def test_duration_is_none_where_the_container_does_not_say(make_video: MakeVideo) -> None:
    out = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-live", "1"]
    assert probe(make_video("live.webm", MOVING, out)).duration_s is None


@pytest.mark.parametrize("rate", [1, 5, 9])
def test_a_low_rate_is_told(make_video: MakeVideo, rate: int) -> None:
    found = probe(make_video(f"rate{rate}.mp4", f"testsrc2=size=64x36:rate={rate}:duration=12"))
    assert found.fps == pytest.approx(rate)


@pytest.mark.parametrize("name", ["gap.mp4", "gap.mkv", "gap.ts"])
def test_hours_without_frames_do_not_lower_the_rate(make_video: MakeVideo, name: str) -> None:
    two_hours_later = "setpts=PTS+if(gte(T\\,2)\\,7200/TB\\,0)"
    assert probe(make_video(name, MOVING, PASS_GAPS, two_hours_later)).fps == pytest.approx(15)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation(make_video: MakeVideo, tmp_path: Path, degrees: int) -> None:
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", str(degrees), "-i", make_video("a.mp4", MOVING, H264), "-c", "copy", turned)
    found = probe(turned)
    assert (found.rotation_deg, found.upside_down) == (degrees, False)
    assert (found.width, found.height) == (64, 36)


def test_anamorphic_pixels(make_video: MakeVideo) -> None:
    found = probe(make_video("anamorphic.mp4", MOVING, vf="setsar=4/3"))
    assert found.pixel_aspect == Fraction(4, 3)
    assert (found.width, found.height) == (64, 36)


def test_interlacing(make_video: MakeVideo) -> None:
    out = ["-c:v", "mpeg2video", "-flags", "+ilme+ildct"]
    fields = "tinterlace=interleave_top,fieldorder=tff"
    assert probe(make_video("fields.ts", "testsrc2=size=64x48:rate=50:duration=2", out, fields)).interlaced


@pytest.mark.parametrize(
    ("size", "stated", "matrix"),
    [
        ("64x36", "bt709", "bt709"),
        ("64x36", "bt470bg", "bt470bg"),
        ("64x36", "bt2020nc", "bt2020"),
        ("64x36", "unknown", "smpte170m"),
        ("1280x720", "unknown", "bt709"),
    ],
)
def test_colour_matrix(make_video: MakeVideo, size: str, stated: str, matrix: str) -> None:
    source = f"color=red:size={size}:rate=10:duration=0.5"
    video = make_video(f"matrix-{size}-{stated}.mp4", source, H264, f"setparams=colorspace={stated}")
    assert probe(video).matrix == matrix


def test_range_and_hdr(make_video: MakeVideo) -> None:
    full = make_video("full.mp4", MOVING, H264, "scale=out_range=full,format=yuvj420p")
    assert probe(full).full_range
    x265 = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "transfer=smpte2084"]
    found = probe(make_video("pq.mkv", MOVING, [*x265, "-pix_fmt", "yuv420p10le"]))
    assert (found.hdr, found.full_range, found.matrix) == (True, False, "bt2020")


def test_metadata_in_no_known_encoding(make_video: MakeVideo, tmp_path: Path) -> None:
    titled = make_video("titled.mkv", MOVING, [*H264, "-metadata", "title=Title in Latin-1"])
    latin = tmp_path / "latin.mkv"
    latin.write_bytes(titled.read_bytes().replace(b"Latin-1", b"\xe4\xf6\xfc\xff\xfe\xe9\xe8"))
    found = probe(latin)
    assert found.width == 64
    assert len(list(decoding.decode(latin, found, FrameSettings()))) == 40


# Bars


@pytest.mark.parametrize("name", ["bars.mp4", "bars.webm"])
@pytest.mark.parametrize(
    ("filters", "box"),
    [
        ("scale=64:24,pad=64:36:0:6", (0, 6, 64, 24)),
        ("scale=20:36,pad=64:36:22:0", (22, 0, 20, 36)),
        ("scale=40:20,pad=64:36:12:8", (12, 8, 40, 20)),
        ("scale=64:25,pad=64:37:0:6", (0, 6, 64, 26)),
    ],
)
def test_bars_on_opposite_sides_are_no_picture(
    make_video: MakeVideo, name: str, filters: str, box: tuple[int, ...]
) -> None:
    codec = {"mp4": H264, "webm": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]}
    out = [*codec[name.split(".")[1]], "-g", "15", "-pix_fmt", "yuv444p"]
    found = probe(make_video(name, MOVING, out, filters))
    assert found.picture == ContentBox(*box)


def test_bars_are_found_behind_a_black_beginning(make_video: MakeVideo) -> None:
    filters = "scale=64:24,drawbox=color=black:t=fill:enable='lt(t,2)',pad=64:36:0:6"
    video = make_video("fade.mp4", "testsrc2=size=64x36:rate=15:duration=6", [*H264, "-g", "15"], filters)
    assert probe(video).picture == (0, 6, 64, 24)


@pytest.mark.parametrize(
    ("name", "luma"),
    [
        ("night", "24+8*random(1)"),
        ("lamp", "if(lt(abs(X-32)\\,14)*lt(abs(Y-18)\\,9)\\,220\\,26)"),
        ("torch", "if(lt(abs(X-mod(T*30\\,64))\\,5)*lt(abs(Y-18)\\,6)\\,200\\,16)"),
        ("floor", "if(gt(Y\\,27)\\,180\\,16)"),
        ("wall", "if(gt(X\\,48)\\,180\\,16)"),
        ("black", "16"),
    ],
)
def test_a_dark_scene_has_no_bars(make_video: MakeVideo, name: str, luma: str) -> None:
    scene = f"color=black:size=64x36:rate=10:duration=4,geq=lum='{luma}':cb=128:cr=128"
    assert probe(make_video(f"{name}.mp4", scene, [*H264, "-g", "5"])).picture == (0, 0, 64, 36)


def test_text_in_a_bar_makes_it_picture(make_video: MakeVideo) -> None:
    filters = "scale=64:24,pad=64:36:0:6,drawbox=x=4:y=31:w=30:h=3:color=white:t=fill"
    found = probe(make_video("subtitles.mp4", MOVING, [*H264, "-g", "15"], filters))
    assert found.picture == (0, 0, 64, 36)


# Files that are no video


def failure(path: Path) -> str:
    with pytest.raises((Failed, Rejected)) as ended:
        probe(path)
    assert "\n" not in ended.value.detail
    return ended.value.state


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 5000,
        b"This is no video.\n" * 100,
        b"<html><body>404 not found</body></html>",
        b"\x1f\x8b\x08\0" + bytes(100),
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    ],
    ids=["empty", "zeros", "text", "html", "gzip", "only a head"],
)
def test_no_video_at_all_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    assert failure(path) == "failed:unreadable"


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_unreadable(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(random.Random(seed).randbytes(100_000))
    assert failure(path) == "failed:unreadable"


def test_an_mp4_without_its_index_is_unreadable(make_video: MakeVideo, tmp_path: Path) -> None:
    whole = make_video("a.mp4", MOVING, H264).read_bytes()
    path = tmp_path / "x.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    assert failure(path) == "failed:unreadable"


def test_a_still_image_is_unreadable(make_video: MakeVideo, tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(make_video("still.png", MOVING, ["-frames:v", "1", "-update", "1"]).read_bytes())
    assert failure(path) == "failed:unreadable"


@pytest.mark.parametrize("kind", ["m4a", "mp3", "wav", "flac", "mka", "aac", "ogg"])
def test_sound_alone_is_no_video(make_video: MakeVideo, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(make_video(f"sound.{kind}", "sine=duration=1", []).read_bytes())
    assert failure(path) == "rejected:no_video"


def test_sound_with_cover_art_is_no_video(make_video: MakeVideo, tmp_path: Path) -> None:
    sound = make_video("sound.m4a", "sine=duration=1", [])
    cover = make_video("still.png", MOVING, ["-frames:v", "1", "-update", "1"])
    song = tmp_path / "song.mp4"
    ffmpeg(
        "-i",
        sound,
        "-i",
        cover,
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v",
        "attached_pic",
        song,
    )
    assert failure(song) == "rejected:no_video"


def test_cover_art_before_the_video_is_passed_over(make_video: MakeVideo, tmp_path: Path) -> None:
    cover = make_video("still.png", "color=white:size=30x30", ["-frames:v", "1", "-update", "1"])
    path = tmp_path / "covered.mkv"
    video = make_video("a.mp4", MOVING, H264)
    maps = ["-map", "1", "-map", "0", "-c", "copy", "-disposition:v:0", "attached_pic"]
    ffmpeg("-i", video, "-i", cover, *maps, path.with_suffix(".mp4"))
    found = probe(path.with_suffix(".mp4"))
    assert (found.width, found.codec) == (64, "h264")
    pictures = [frame.picture for frame in decoding.decode(path.with_suffix(".mp4"), found, FrameSettings())]
    assert len(pictures) == 40


@pytest.mark.parametrize("seed", range(25))
def test_damage_anywhere_ends_in_a_known_state(make_video: MakeVideo, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    kind, out = [
        ("a.mp4", H264),
        ("b.ts", H264),
        ("c.flv", H264),
        ("g.avi", ["-c:v", "mjpeg"]),
        ("h.wmv", ["-c:v", "wmv2"]),
    ][seed % 5]
    content = bytearray(make_video(kind, MOVING, out).read_bytes())
    for _ in range(60):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    try:
        found = probe(path)
    except (Failed, Rejected):
        return
    assert found.width > 0
    assert found.height > 0


# Files that refer to others


class Trap(ThreadingHTTPServer):
    """A web server on this machine that has what is asked for, and counts who asks."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content = content
        self.asked: list[str] = []


class _Answer(BaseHTTPRequestHandler):
    server: Trap

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def trap(make_video: MakeVideo) -> Iterator[Trap]:
    with Trap(make_video("b.ts", MOVING, H264).read_bytes()) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{url}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{url}'\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT4S"><Period>'
    '<AdaptationSet mimeType="video/mp2t"><Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nu={url}\r\n"
    "m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n",
    "smil": '<smil><body><video src="{url}"/></body></smil>',
    "asx": '<ASX version="3.0"><entry><ref href="{url}"/></entry></ASX>',
    "pls": "[playlist]\nFile1={url}\nNumberOfEntries=1\n",
    "asf": "[Reference]\nRef1={url}\n",
    "xspf": "<playlist><trackList><track><location>{url}</location></track></trackList></playlist>",
}
DISGUISES = {"plain": "", "blank": "\n \t\n", "bom": "\ufeff"}


def dressed(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "dressed.mp4"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_unsafe_and_fetches_nothing(
    trap: Trap, tmp_path: Path, make_video: MakeVideo, kind: str, disguise: str
) -> None:
    local = make_video("b.ts", MOVING, H264)
    for url in (f"http://127.0.0.1:{trap.server_port}/x.ts", str(local), f"file:{local}"):
        assert (
            failure(dressed(tmp_path, DISGUISES[disguise] + PLAYLISTS[kind].format(url=url)))
            == "failed:unsafe"
        )
    assert trap.asked == []


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_playlist_in_wide_characters_is_unsafe(tmp_path: Path, encoding: str) -> None:
    text = "\ufeff" + PLAYLISTS["hls"].format(url="http://127.0.0.1/x.ts")
    assert failure(dressed(tmp_path, text, encoding)) == "failed:unsafe"


def test_the_trap_works(trap: Trap, tmp_path: Path) -> None:
    """An ffmpeg that is not held back falls for what the other tests use."""
    for kind in ("hls", "concat", "dash"):
        path = dressed(tmp_path, PLAYLISTS[kind].format(url=f"http://127.0.0.1:{trap.server_port}/{kind}.ts"))
        picky = {"hls": ["-f", "hls", "-extension_picky", "0"], "concat": ["-safe", "0"]}
        allowed = ["-protocol_whitelist", "file,http,tcp", *picky.get(kind, [])]
        command = [FFMPEG, "-nostdin", "-v", "error", *allowed, "-i", path, "-f", "null", "-"]
        subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert {path.removeprefix("/") for path in trap.asked} == {"hls.ts", "concat.ts", "dash.ts"}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_ffmpeg_itself_fetches_nothing(
    trap: Trap, tmp_path: Path, make_video: MakeVideo, kind: str, disguise: str
) -> None:
    local = make_video("b.ts", MOVING, H264)
    video = probe(local)
    for url in (f"http://127.0.0.1:{trap.server_port}/x.ts", str(local)):
        path = dressed(tmp_path, DISGUISES[disguise] + PLAYLISTS[kind].format(url=url))
        with pytest.raises(Failed) as ended:
            list(decoding.decode(path, video, FrameSettings()))
        assert ended.value.state == "failed:unreadable"
    assert trap.asked == []


def atom(name: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + name + content


def test_a_movie_that_redirects_is_unsafe(trap: Trap, tmp_path: Path, make_video: MakeVideo) -> None:
    url = f"http://127.0.0.1:{trap.server_port}/x.ts".encode() + b"\0"
    place = atom(b"rdrf", bytes(4) + b"url " + len(url).to_bytes(4, "big") + url)
    path = tmp_path / "redirect.mp4"
    path.write_bytes(atom(b"ftyp", b"qt  " + bytes(4)) + atom(b"moov", atom(b"rmra", atom(b"rmda", place))))
    assert failure(path) == "failed:unsafe"
    video = probe(make_video("b.ts", MOVING, H264))
    with pytest.raises(Failed):
        list(decoding.decode(path, video, FrameSettings()))
    assert trap.asked == []


def test_a_movie_whose_frames_lie_elsewhere_gives_none(make_video: MakeVideo, tmp_path: Path) -> None:
    """QuickTime's data references: the movie's index here, its pictures in another file."""
    whole = make_video("a.mp4", MOVING, H264)
    (tmp_path / "other.mp4").write_bytes(whole.read_bytes())
    name = b"other.mp4"
    alias = bytearray(150)
    alias[10 : 10 + 8] = b"\x07Volume1"
    alias[50 : 50 + 1 + len(name)] = bytes([len(name)]) + name
    alias[130:134] = (0).to_bytes(2, "big") * 2
    path_of_file = str(tmp_path / "other.mp4").encode()
    path_of_file += b"\0" * (len(path_of_file) % 2)
    alias += (2).to_bytes(2, "big") + len(path_of_file).to_bytes(2, "big") + path_of_file + b"\xff\xff\0\0"
    entry = atom(b"alis", bytes(4) + bytes(alias))
    path = tmp_path / "elsewhere.mp4"
    path.write_bytes(with_reference(whole.read_bytes(), bytes(4) + (1).to_bytes(4, "big") + entry))
    try:
        found = probe(path)
    except Failed as failed:
        assert failed.failure in ("unsafe", "unreadable")  # noqa: PT017 - it may be found out later too
        found = probe(whole)
    with pytest.raises(Failed):
        list(decoding.decode(path, found, FrameSettings()))


def with_reference(content: bytes, reference: bytes) -> bytes:
    """An mp4 with the content of every `dref` atom replaced; its index lies behind its pictures."""
    out, place = b"", 0
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        name, inside = content[place + 4 : place + 8], content[place + 8 : place + size]
        if name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            inside = with_reference(inside, reference)
        out += atom(name, reference if name == b"dref" else inside)
        place += size
    return out
