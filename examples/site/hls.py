"""A video offered as an HLS stream in place of a file."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import quote

from examples.site.serving import Resource
from examples.site.videos import Video

HLS_TYPE = "application/vnd.apple.mpegurl"
CAPTION_TYPE = "text/vtt; charset=utf-8"


def make_hls(video: Video, folder: Path) -> dict[str, Resource]:
    """Cut the video, not re-encoded, for a stream and list its parts by name."""
    from imageio_ffmpeg import get_ffmpeg_exe

    folder.mkdir()
    command = [get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-i", str(video.path)]
    command += ["-map", "0:v:0", "-c:v", "copy", "-an", "-f", "hls", "-hls_time", "4"]
    command += ["-hls_playlist_type", "vod", "-hls_segment_filename", str(folder / "%05d.ts")]
    subprocess.run([*command, str(folder / "video.m3u8")], check=True)

    playlist = (folder / "video.m3u8").read_text()
    length_s = sum(float(length) for length in re.findall(r"#EXTINF:([\d.]+)", playlist))
    segments = sorted(folder.glob("*.ts"))
    resources = {segment.name: Resource("video/mp2t", segment) for segment in segments}
    resources["video.m3u8"] = Resource(HLS_TYPE, playlist.encode())

    master = ["#EXTM3U", "#EXT-X-VERSION:4"]
    bits = 8 * sum(segment.stat().st_size for segment in segments)
    stream = [f"BANDWIDTH={bits / length_s:.0f}"]
    if video.width and video.height:
        stream.append(f"RESOLUTION={video.width}x{video.height}")
    if video.fps:
        stream.append(f"FRAME-RATE={video.fps:.3f}")
    for language, file in video.captions().items():
        resources[f"{language}.vtt"] = Resource(CAPTION_TYPE, file)
        resources[f"{language}.m3u8"] = Resource(HLS_TYPE, caption_playlist(language, length_s))
        master.append(
            f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="captions",NAME="{language}",'
            f'LANGUAGE="{language}",URI="{quote(language)}.m3u8"'
        )
    if len(master) > 2:
        stream.append('SUBTITLES="captions"')
    master += [f"#EXT-X-STREAM-INF:{','.join(stream)}", "video.m3u8", ""]
    resources["index.m3u8"] = Resource(HLS_TYPE, "\n".join(master).encode())
    return resources


def caption_playlist(language: str, length_s: float) -> bytes:
    """Wrap one caption file the way HLS wants it: a playlist of one segment."""
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:4",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        f"#EXT-X-TARGETDURATION:{length_s:.0f}",
        f"#EXTINF:{length_s:.3f},",
        f"{quote(language)}.vtt",
        "#EXT-X-ENDLIST",
        "",
    ]
    return "\n".join(lines).encode()
