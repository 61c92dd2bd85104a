"""Videos on the web: whatever yt-dlp understands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.download import download, list_videos
from pipeline.outcomes import Failed
from pipeline.sources.base import Fetched, Source, video_from_info
from shards.keys import site_video_id, url_video_id
from shards.records import Video

_SEARCH = re.compile(r"[a-z]+search(\d*|all):")

# These extractors read any page and have no ids of their own.
_SITELESS = frozenset({None, "", "Generic", "HTML5MediaEmbed"})


class WebSource(Source):
    """Pages, playlists, channels, feeds and searches.

    Attributes:
        urls: pages of videos, playlists or channels.
        search: words to search YouTube for, or a search in yt-dlp's own notation
            (`ytsearch50:platformer longplay`).
        feeds: RSS or Atom feeds.
        max_videos: at most so many from each URL, search or feed.
        min_height_px: the smallest rendition at least this high is downloaded.
        allow_private: whether addresses of this machine and its network may be visited.
    """

    limits: ClassVar[frozenset[str]] = frozenset({"max_videos", "min_height_px", "allow_private"})

    kind: Literal["web"] = "web"
    urls: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    max_videos: int = Field(default=100, ge=1)
    min_height_px: int = Field(default=144, ge=1)
    allow_private: bool = False

    @model_validator(mode="after")
    def _leads_somewhere(self) -> WebSource:
        if not (self.urls or self.search or self.feeds):
            raise ValueError("gives nothing to look at; name at least one of urls, search or feeds")
        for url in (*self.urls, *self.feeds):
            if not re.match(r"https?://", url):
                raise ValueError(f"{url!r} is not a web address; it must begin with http:// or https://")
        return self

    def discover(self, problem: Callable[[str], None]) -> Iterator[Video]:
        """Every video of every URL, search and feed."""
        for url in (*self.urls, *self.feeds, *map(self._search_url, self.search)):
            try:
                entries = list_videos(url, max_videos=self.max_videos, allow_private=self.allow_private)
            except Failed as failure:
                problem(f"{url}: {failure.detail}")
                continue
            for entry in entries:
                if f"{entry['url']}{entry.get('id')}".isprintable():
                    yield self._video(entry)
                else:
                    problem(f"{url}: {entry['url']!a:.200}: left out; its address or id is not text")

    def fetch(self, video: Video, folder: Path) -> Fetched:
        """Download the smallest rendition that serves."""
        path, info = download(
            video.url,
            folder,
            min_height_px=self.min_height_px,
            allow_private=self.allow_private,
            duration_s=video.duration_s,
        )
        told = video_from_info(video.video_id, self.kind, video.url, info)
        # The page knows more than the listing; where it is silent, the listing stands.
        fields = {name: value for name, value in vars(told).items() if value is not None}
        return Fetched(
            path, replace(video, **fields | {"title": video.title or told.title, "found_at": video.found_at})
        )

    @property
    def shaping(self) -> dict[str, Any]:
        """The rendition."""
        usual = type(self).model_fields["min_height_px"].default
        return {} if self.min_height_px == usual else {"min_height_px": self.min_height_px}

    def _search_url(self, words: str) -> str:
        return words if _SEARCH.match(words) else f"ytsearch{self.max_videos}:{words}"

    def _video(self, entry: dict[str, Any]) -> Video:
        site, site_id, url = entry.get("site"), entry.get("id"), entry["url"]
        known = site_id and site not in _SITELESS
        video_id = site_video_id(str(site), str(site_id)) if known else url_video_id(url)
        return video_from_info(video_id, self.kind, url, entry)
