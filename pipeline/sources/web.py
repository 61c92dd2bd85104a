"""Videos on the web: whatever yt-dlp understands."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from pipeline import youtube
from pipeline.download import Visit, download, list_videos, read_pages
from pipeline.opt_out import OptOut
from pipeline.outcomes import Failed
from pipeline.page_info import LASTING, RENDITION, info_text, kept_info
from pipeline.sources.base import Fetched, Found, Source, found_from_info, video_from_info
from shards.errors import SettingError
from shards.keys import site_video_id, url_video_id
from shards.records import Video

_SEARCH = re.compile(r"[a-z]+search(\d*|all):")
_PROXY = re.compile(r"(https?|socks[45]h?)://\S+")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_PAGES_AT_ONCE = 20

# These extractors read any page and have no ids of their own.
_SITELESS = frozenset({None, "", "Generic", "HTML5MediaEmbed"})

# The lowest rendition on which text is read and a small face seen.
_WIDE_MIN_HEIGHT_PX = 360

_UNREAD: Mapping[str, Any] = MappingProxyType({})

Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$")]


class WebSource(Source):
    """Pages, playlists, channels, feeds and searches.

    `cookies` and `proxy` are not kept with the dataset and never printed. Give them as `${NAME}`, and
    the environment variable NAME of the command is taken, so that they are in no config either.

    Attributes:
        urls: pages of videos, playlists or channels.
        search: words to search YouTube for, or a search in yt-dlp's own notation
            (`ytsearch50:platformer longplay`).
        feeds: RSS or Atom feeds.
        max_videos: at most so many from each URL, search or feed.
        min_height_px: the smallest rendition at least this high is downloaded; where wide frames are
            made, it is at least 360.
        metadata: `listing` takes what lists and feeds say of a video; `page` reads each new video's page
            too, so that the title rules see its whole description, for a request or more a video.
        subtitles: languages in which subtitles are kept with the video's pack, if there are any.
        cookies: path of a file of cookies in Netscape's format, on every machine that downloads.
        proxy: URL of a proxy for all requests.
        user_agent: what the downloader says it is.
        allow_private: whether addresses of this machine and its network may be visited.
    """

    limits: ClassVar[frozenset[str]] = frozenset(
        {
            *("max_videos", "min_height_px", "allow_private", "metadata", "subtitles"),
            *("cookies", "proxy", "user_agent"),
        }
    )

    kind: Literal["web"] = "web"
    urls: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    max_videos: int = Field(default=100, ge=1)
    min_height_px: int = Field(default=144, ge=1)
    metadata: Literal["listing", "page"] = "listing"
    subtitles: tuple[Language, ...] = ()
    cookies: SecretStr | None = Field(default=None, exclude=True)
    proxy: SecretStr | None = Field(default=None, exclude=True)
    user_agent: str | None = Field(default=None, pattern=r"^[\x20-\x7e]+$")
    allow_private: bool = False

    @field_validator("cookies", "proxy")
    @classmethod
    def _from_environment(cls, told: SecretStr | None) -> SecretStr | None:
        variable = _VARIABLE.fullmatch(told.get_secret_value()) if told else None
        if not variable:
            return told
        if variable[1] not in os.environ:
            raise ValueError(f"the environment variable {variable[1]} is not set")
        return SecretStr(os.environ[variable[1]])

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, told: SecretStr | None) -> SecretStr | None:
        if told and not _PROXY.fullmatch(told.get_secret_value()):
            raise ValueError("is not a proxy's URL; it must be as http://host:3128 or socks5://host:1080")
        return told

    @model_validator(mode="after")
    def _leads_somewhere(self) -> WebSource:
        if not (self.urls or self.search or self.feeds):
            raise ValueError("gives nothing to look at; name at least one of urls, search or feeds")
        for url in (*self.urls, *self.feeds):
            if not re.match(r"https?://", url):
                raise ValueError(f"{url!r} is not a web address; it must begin with http:// or https://")
        return self

    def check(self) -> None:
        """See that what YouTube needs is there, and the file of cookies."""
        places = {"urls": self.urls, "search": map(self._search_url, self.search), "feeds": self.feeds}
        for key, urls in places.items():
            if any(map(youtube.is_youtube, urls)) and not youtube.js_runtime():
                raise SettingError(
                    key, f"YouTube needs a JavaScript runtime; `{youtube.INSTALL}` installs one"
                )
        if self.cookies and not os.access(self.cookies.get_secret_value(), os.R_OK):
            raise SettingError("cookies", "there is no such file, or it cannot be read")

    def discover(
        self,
        problem: Callable[[str], None],
        known: Container[str] = frozenset(),
        pause_s: Callable[[str], float] = lambda _: 0.0,
    ) -> Iterator[Found]:
        """Every video of every URL, search and feed."""
        refusing: set[str] = set()
        for url in (*self.urls, *self.feeds, *map(self._search_url, self.search)):
            site = _site_of(url)
            visit = replace(self._visit, pause_s=pause_s(site))
            if site in refusing or math.isinf(visit.pause_s):
                problem(f"{url}: not asked; {site} wants to be left alone")
                continue
            try:
                entries = list_videos(url, visit, max_videos=self.max_videos)
            except Failed as failure:
                problem(f"{url}: {failure.detail}")
                if failure.failure == "throttled":
                    refusing.add(site)
                continue
            readable = []
            for entry in entries:
                if f"{entry['url']}{entry.get('id')}".isprintable():
                    readable.append(entry)
                else:
                    problem(f"{url}: {entry['url']!a:.200}: left out; its address or id is not text")
            if self.metadata == "page":
                yield from self._read_pages(readable, problem, known, pause_s)
            else:
                yield from map(self._found, readable)

    def fetch(self, video: Video, folder: Path, opt_out: OptOut = OptOut()) -> Fetched:  # noqa: B008 - frozen
        """Download the smallest rendition that serves."""
        got = download(
            video.url,
            folder,
            self._visit,
            min_height_px=self.min_height_px,
            duration_s=video.duration_s,
            subtitles=self.subtitles,
            opt_out=opt_out.root,
        )
        told = video_from_info(video.video_id, self.kind, video.url, got.info)
        # The page knows more than the listing; where it is silent, the listing stands.
        fields = {name: value for name, value in vars(told).items() if value is not None}
        kept = info_text(kept_info(got.info, LASTING + RENDITION))
        return Fetched(
            got.path,
            replace(video, **fields | {"title": video.title or told.title, "found_at": video.found_at}),
            beside={"info.json": kept.encode() + b"\n"}
            | {f"{language}.vtt": path.read_bytes() for language, path in sorted(got.subtitles.items())},
            requests=got.requests,
        )

    def for_wide(self) -> WebSource:
        """It, with a rendition of at least 360 lines."""
        return self.model_copy(update={"min_height_px": max(self.min_height_px, _WIDE_MIN_HEIGHT_PX)})

    def site(self, video: Video) -> str:
        """The name of the site's extractor, or the host."""
        if video.video_id == url_video_id(video.url):
            return _site_of(video.url)
        return video.video_id.partition("-")[0]

    @property
    def shaping(self) -> dict[str, Any]:
        """The rendition."""
        usual = type(self).model_fields["min_height_px"].default
        return {} if self.min_height_px == usual else {"min_height_px": self.min_height_px}

    @property
    def _visit(self) -> Visit:
        return Visit(
            allow_private=self.allow_private,
            cookies=self.cookies.get_secret_value() if self.cookies else None,
            proxy=self.proxy.get_secret_value() if self.proxy else None,
            user_agent=self.user_agent,
        )

    def _search_url(self, words: str) -> str:
        return words if _SEARCH.match(words) else f"ytsearch{self.max_videos}:{words}"

    def _read_pages(
        self,
        entries: Iterable[dict[str, Any]],
        problem: Callable[[str], None],
        known: Container[str],
        pause_s: Callable[[str], float],
    ) -> Iterator[Found]:
        """Each entry with what its page says; one that cannot be read now is left to the next time."""
        new: dict[str, dict[str, Any]] = {}
        for entry in entries:
            found = self._found(entry)
            if found.video.video_id in known:
                yield Found(
                    Video(found.video.video_id, self.kind, found.video.url, found_at=found.video.found_at)
                )
            else:
                new.setdefault(entry["url"], entry)
        by_site: dict[str, list[str]] = {}
        for url in new:
            by_site.setdefault(_site_of(url), []).append(url)
        for site, urls in by_site.items():
            visit = replace(self._visit, pause_s=pause_s(site))
            if math.isinf(visit.pause_s):
                continue
            for some in (urls[at : at + _PAGES_AT_ONCE] for at in range(0, len(urls), _PAGES_AT_ONCE)):
                try:
                    pages = read_pages(some, visit)
                except Failed as failure:
                    problem(f"{site}: pages cannot be read: {failure.detail}")
                    break
                for page in pages:
                    entry = new[page["url"]]
                    if "info" in page:
                        yield self._found(entry, page["info"])
                    elif page.get("passing") or page.get("failure") == "throttled":
                        problem(f"{page['url']}: left to the next time: {page['detail']}")
                    else:
                        yield self._found(entry)
                if len(pages) < len(some):
                    break

    def _found(self, entry: dict[str, Any], page: Mapping[str, Any] = _UNREAD) -> Found:
        """A video is known by what its list says, and described by its page where that was read."""
        site, site_id, url = entry.get("site"), entry.get("id"), entry["url"]
        known = site_id and site not in _SITELESS
        video_id = site_video_id(str(site), str(site_id)) if known else url_video_id(url)
        told = {name: value for name, value in page.items() if value is not None}
        return found_from_info(video_id, self.kind, url, entry | told)


def _site_of(url: str) -> str:
    """Whose server answers for a URL or a search."""
    if youtube.is_youtube(url):
        return youtube.SITE
    try:
        return urlsplit(url).hostname or url.partition(":")[0]
    except ValueError:  # a stranger's feed may hold anything
        return "url"
