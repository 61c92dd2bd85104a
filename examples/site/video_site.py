"""The site itself: what it publishes, where it is, and when it is up."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import quote

from examples.site.faults import Fault
from examples.site.hls import CAPTION_TYPE, make_hls
from examples.site.pages import Listed, WatchPage, feed, index_page, watch_page
from examples.site.serving import Handler, Request, Resource, Server
from examples.site.videos import VIDEO_TYPES, read_videos

HTML_TYPE = "text/html; charset=utf-8"
FEED_TYPE = "application/rss+xml; charset=utf-8"


class VideoSite:
    """The site, up between `__enter__` and `__exit__`, on a free port unless one is given.

    Args:
        folder: every video in it is published, at any depth, so stems must not repeat.
        port: 0 takes a free one.
        hls: stems offered as an HLS stream in place of the file.
        faults: what goes wrong, by address; `fail` tells of more while the site is up.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        hls: Collection[str] = (),
        faults: Mapping[str, Iterable[Fault]] | None = None,
    ) -> None:
        self._folder = Path(folder)
        self._port = port
        self._hls = frozenset(hls)
        self._faults = dict(faults or {})
        self._open = ExitStack()
        self._server: Server | None = None

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._server = opening.enter_context(Server(("127.0.0.1", self._port), Handler))
            scratch = Path(opening.enter_context(tempfile.TemporaryDirectory(prefix="site-")))
            self._server.resources.update(self._publish(scratch))
            for path, faults in self._faults.items():
                self._server.faults.add(path, faults)
            thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            opening.callback(thread.join)
            opening.callback(self._server.shutdown)
            opening.callback(self._server.faults.go_on.set)
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

    def fail(self, path: str, faults: Iterable[Fault]) -> None:
        """Let the next requests of an address (`/watch/<stem>`, `/media/<file>`) meet these, one each."""
        self._running.faults.add(path, faults)

    def go_on(self) -> None:
        """End every stall, those to come too."""
        self._running.faults.go_on.set()

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
        listed = [Listed(video, self.page_url(video.stem)) for video in videos]
        resources = {
            "/": Resource(HTML_TYPE, index_page(self.feed_url, listed)),
            "/feed.rss": Resource(FEED_TYPE, feed(self.url, listed)),
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
