"""A small video site on this machine, so that a demo and its tests need no real one.

It shows a folder of videos the way sites do (an index, a feed, one page a video, files that
resume, HLS streams), so that a downloader exercises the very paths it takes on the web:

    with VideoSite(Path("examples"), hls=["jumper_bunny"]) as site:
        print(site.feed_url, site.page_url("jumper_bunny"))

or, for a browser, `python examples/site.py`. The folder is read once, on entering: what is
published never changes under a running download.
"""

from __future__ import annotations

import argparse
import glob
import html
import io
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self
from urllib.parse import quote, unquote, urlsplit

VIDEO_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
}
HLS_TYPE = "application/vnd.apple.mpegurl"
CAPTION_TYPE = "text/vtt; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"
SITE_NAME = "Sample videos"
ITUNES = "http://www.itunes.com/dtds/podcast-1.0.dtd"
CHUNK_BYTES = 1 << 18

# A script builds the player, as on most sites: where the source of a page holds a video tag,
# yt-dlp reads that tag and never gets to the JSON-LD, which says far more.
PLAYER_SCRIPT = """
const player = document.getElementById("player");
const video = player.appendChild(document.createElement("video"));
Object.assign(video, {controls: true, src: player.dataset.media});
for (const [language, url] of Object.entries(JSON.parse(player.dataset.captions))) {
  const track = video.appendChild(document.createElement("track"));
  Object.assign(track, {kind: "captions", srclang: language, src: url});
}
"""
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Request(NamedTuple):
    """One answered request, for tests that ask how politely a client behaved."""

    method: str
    path: str
    range: str | None
    status: int


@dataclass(frozen=True)
class Resource:
    """What one address serves. All there is to serve is listed: no path can lead elsewhere."""

    content_type: str
    body: bytes | Path

    def open(self) -> BinaryIO:
        """Give pages and files one face, so that both are served by the same lines."""
        return io.BytesIO(self.body) if isinstance(self.body, bytes) else self.body.open("rb")

    @property
    def tag(self) -> str:
        """Name this state of the body, so that a download never resumes into another."""
        body = self.body
        version = zlib.crc32(body) if isinstance(body, bytes) else body.stat().st_mtime_ns
        return f'"{version:x}"'


@dataclass(frozen=True)
class Video:
    """A video file and what its `.info.json` says, cleaned of what XML cannot carry."""

    path: Path
    title: str
    description: str
    channel: str
    licence: str
    tags: tuple[str, ...]
    duration_s: float | None
    width: int | None
    height: int | None
    fps: float | None
    uploaded_at: datetime | None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Take what the sidecar knows; a file without one is still a video, named by its stem."""
        sidecar = path.with_suffix(".info.json")
        info: dict[str, Any] = json.loads(sidecar.read_bytes()) if sidecar.exists() else {}

        def text(*keys: str) -> str:
            return UNPRINTABLE.sub("", str(next((info[k] for k in keys if info.get(k)), "")))

        day = text("upload_date")
        return cls(
            path=path,
            title=text("title") or path.stem,
            description=text("description"),
            channel=text("channel", "uploader"),
            licence=text("license"),
            tags=tuple(UNPRINTABLE.sub("", str(tag)) for tag in info.get("tags") or ()),
            duration_s=info.get("duration"),
            width=info.get("width"),
            height=info.get("height"),
            fps=info.get("fps"),
            uploaded_at=datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) if day else None,
        )

    @property
    def stem(self) -> str:
        """The video's id in every address of the site."""
        return self.path.stem

    def captions(self) -> dict[str, Path]:
        """Find the caption files by language, named `<stem>.<language>.vtt`."""
        files = self.path.parent.glob(f"{glob.escape(self.stem)}.*.vtt")
        return {file.name[len(self.stem) + 1 : -len(".vtt")]: file for file in sorted(files)}


@dataclass(frozen=True)
class WatchPage:
    """A video and the addresses it got."""

    video: Video
    url: str
    media_url: str
    media_type: str
    captions: dict[str, str]


class VideoSite:
    """The site, up between `__enter__` and `__exit__`, on a free port unless one is given.

    Args:
        folder: every video in it is published, at any depth, so stems must not repeat.
        port: 0 takes a free one.
        hls: stems offered as an HLS stream in place of the file.
    """

    def __init__(self, folder: Path, port: int = 0, hls: Collection[str] = ()) -> None:
        self._folder = Path(folder)
        self._port = port
        self._hls = frozenset(hls)
        self._open = ExitStack()
        self._server: Server | None = None

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._server = opening.enter_context(Server(("127.0.0.1", self._port), Handler))
            scratch = Path(opening.enter_context(tempfile.TemporaryDirectory(prefix="site-")))
            self._server.resources.update(self._publish(scratch))
            thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            opening.callback(thread.join)
            opening.callback(self._server.shutdown)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def url(self) -> str:
        """Where the site is, without a slash at the end."""
        return f"http://127.0.0.1:{self._running.server_port}"

    @property
    def feed_url(self) -> str:
        """The feed that lists every video, newest first."""
        return f"{self.url}/feed.rss"

    def page_url(self, stem: str) -> str:
        """Address a video the way a visitor would."""
        return f"{self.url}/watch/{quote(stem, safe='')}"

    @property
    def requests(self) -> tuple[Request, ...]:
        """Everything answered so far, in order."""
        return self._running.answered()

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the site is not up: enter it with `with VideoSite(...) as site:`")
        return self._server

    def _publish(self, scratch: Path) -> dict[str, Resource]:
        videos = read_videos(self._folder)
        if missing := self._hls - {video.stem for video in videos}:
            raise ValueError(f"no such video to stream: {', '.join(sorted(missing))}")
        resources = {
            "/": Resource(HTML_TYPE, index_page(self, videos)),
            "/feed.rss": Resource("application/rss+xml; charset=utf-8", feed(self, videos)),
        }
        for number, video in enumerate(videos):
            captions = {}
            for language, file in video.captions().items():
                captions[language] = f"{self.url}/media/{quote(file.name)}"
                resources[f"/media/{file.name}"] = Resource(CAPTION_TYPE, file)
            if video.stem in self._hls:
                streamed = f"/hls/{video.stem}/"
                for name, resource in make_hls(video, scratch / str(number)).items():
                    resources[streamed + name] = resource
                media = streamed + "index.m3u8"
            else:
                media = f"/media/{video.path.name}"
                resources[media] = Resource(VIDEO_TYPES[video.path.suffix.lower()], video.path)
            page = WatchPage(
                video=video,
                url=self.page_url(video.stem),
                media_url=self.url + quote(media),
                media_type=resources[media].content_type,
                captions=captions,
            )
            resources[f"/watch/{video.stem}"] = Resource(HTML_TYPE, watch_page(page))
        return resources


def read_videos(folder: Path) -> list[Video]:
    """List what is to be published, newest first; one address cannot mean two files."""
    videos: dict[str, Video] = {}
    for path in sorted(folder.resolve(strict=True).rglob("*")):
        if path.suffix.lower() in VIDEO_TYPES and path.is_file():
            if path.stem in videos:
                raise ValueError(f"two videos are called {path.stem!r} in {folder}")
            videos[path.stem] = Video.read(path)
    undated = datetime.min.replace(tzinfo=UTC)
    return sorted(videos.values(), key=lambda v: v.uploaded_at or undated, reverse=True)


def index_page(site: VideoSite, videos: list[Video]) -> bytes:
    """Give a visitor something to click, and readers the address of the feed."""
    links = ((site.page_url(video.stem), html.escape(video.title)) for video in videos)
    rows = "\n".join(f'<li><a href="{url}">{title}</a></li>' for url, title in links)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{SITE_NAME}</title>
<link rel="alternate" type="application/rss+xml" href="{site.feed_url}">
</head>
<body>
<h1>{SITE_NAME}</h1>
<ul>
{rows}
</ul>
</body>
</html>
""".encode()


def watch_page(page: WatchPage) -> bytes:
    """Tell machines (JSON-LD, Open Graph) all that people are told, and people all of it too."""
    video = page.video
    graph = {
        "og:type": "video.other",
        "og:site_name": SITE_NAME,
        "og:title": video.title,
        "og:description": video.description,
        "og:url": page.url,
        "og:video": page.media_url,
        "og:video:type": page.media_type,
    }
    metas = "\n".join(
        f'<meta property="{name}" content="{html.escape(content)}">'
        for name, content in graph.items()
        if content
    )
    facts = " · ".join(filter(None, (video.channel, video.licence)))
    linked = json.dumps(linked_data(page), indent=1)
    for character in "<>&":
        linked = linked.replace(character, f"\\u{ord(character):04x}")
    captions = html.escape(json.dumps(page.captions))
    title = html.escape(video.title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
{metas}
<script type="application/ld+json">
{linked}
</script>
</head>
<body>
<h1>{title}</h1>
<div id="player" data-media="{html.escape(page.media_url)}" data-captions="{captions}"></div>
<p>{html.escape(facts)}</p>
<p>{html.escape(video.description)}</p>
<script>{PLAYER_SCRIPT}</script>
</body>
</html>
""".encode()


def linked_data(page: WatchPage) -> dict[str, object]:
    """Describe the video as schema.org's VideoObject, leaving out what is not known."""
    video = page.video
    known = {
        "@context": "https://schema.org",
        "@type": "VideoObject",
        "name": video.title,
        "description": video.description,
        "url": page.url,
        "contentUrl": page.media_url,
        "encodingFormat": page.media_type,
        "duration": f"PT{video.duration_s}S" if video.duration_s else None,
        "uploadDate": video.uploaded_at.isoformat() if video.uploaded_at else None,
        "author": {"@type": "Organization", "name": video.channel} if video.channel else None,
        "license": video.licence,
        "keywords": ",".join(video.tags),
        "width": video.width,
        "height": video.height,
    }
    return {name: value for name, value in known.items() if value}


def feed(site: VideoSite, videos: list[Video]) -> bytes:
    """List the videos as a podcast does, with links to pages and none to the files."""
    ET.register_namespace("itunes", ITUNES)
    rss = ET.Element("rss", version="2.0")
    channel = ET.SubElement(rss, "channel")
    for name, text in {"title": SITE_NAME, "link": site.url, "description": SITE_NAME}.items():
        ET.SubElement(channel, name).text = text
    for video in videos:
        known = {
            "title": video.title,
            "link": site.page_url(video.stem),
            "description": video.description,
            "pubDate": format_datetime(video.uploaded_at) if video.uploaded_at else None,
            f"{{{ITUNES}}}duration": str(round(video.duration_s)) if video.duration_s else None,
        }
        item = ET.SubElement(channel, "item")
        for name, value in known.items():
            if value:
                ET.SubElement(item, name).text = value
    document: bytes = ET.tostring(rss, encoding="utf-8", xml_declaration=True)
    return document


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


class Server(ThreadingHTTPServer):
    """Holds what all connections share: the published resources and the log of answers."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.resources: dict[str, Resource] = {}
        self._answered: list[Request] = []
        self._lock = threading.Lock()

    def answered(self) -> tuple[Request, ...]:
        """Copy the log, which other threads go on writing."""
        with self._lock:
            return tuple(self._answered)

    def log(self, request: Request) -> None:
        """Record an answer before its first byte leaves, so that no client can be ahead of it."""
        with self._lock:
            self._answered.append(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about clients that hang up: downloaders do so once they know enough."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Serves resources by address, in byte ranges where asked."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with headers and body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers that GET would send."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        resource = self.server.resources.get(unquote(urlsplit(self.path).path))
        if resource is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with resource.open() as stream:
            size = stream.seek(0, io.SEEK_END)
            resumable = with_body and self.headers["If-Range"] in (None, resource.tag)
            status, span = parse_range(self.headers["Range"] if resumable else None, size)
            self.send_response(status)
            if status == HTTPStatus.PARTIAL_CONTENT:
                self.send_header("Content-Range", f"bytes {span.start}-{span.stop - 1}/{size}")
            elif status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", resource.content_type)
            self.send_header("Content-Length", str(len(span)))
            self.send_header("ETag", resource.tag)
            self.send_header("Connection", "close")
            self.end_headers()
            if with_body:
                self._send(stream, span)

    def _send(self, stream: BinaryIO, span: range) -> None:
        stream.seek(span.start)
        for start in span[::CHUNK_BYTES]:
            self.wfile.write(stream.read(min(CHUNK_BYTES, span.stop - start)))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002
        """Keep requests for tests to read, instead of printing them."""
        wanted = getattr(self, "headers", {}).get("Range")
        path = getattr(self, "path", "")
        self.server.log(Request(self.command or "", path, wanted, int(code)))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: an error is in the log with its status."""


def parse_range(header: str | None, size: int) -> tuple[HTTPStatus, range]:
    """Choose the bytes to send; what is not one plain range is ignored, as RFC 9110 allows."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    first, last = match.groups() if match else ("", "")
    backwards = bool(first and last) and int(last) < int(first)
    if backwards or not (first or last):
        return HTTPStatus.OK, range(size)
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, range(0)
    return HTTPStatus.PARTIAL_CONTENT, range(start, stop)


def main() -> None:
    """Show the examples to a browser, or to any downloader, until interrupted."""
    parser = argparse.ArgumentParser(description="Serve a folder of videos as a small site.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    parser.add_argument("--port", type=int, default=8787)
    args = parser.parse_args()
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    with VideoSite(args.folder, args.port) as site:
        print(f"{site.url} (feed: {site.feed_url}); Ctrl-C stops it", flush=True)
        signal.sigwait(stops)


if __name__ == "__main__":
    main()
