"""The child of `pipeline.download`: one yt-dlp job from standard input, one answer to standard output."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import yt_dlp
from yt_dlp.networking.exceptions import HTTPError

from pipeline.page_info import LASTING, PASSING, RENDITION, kept_info
from pipeline.ytdlp.failures import (
    EXPECTED,
    LiveError,
    TooLargeError,
    UnwantedError,
    answer_of,
    left_alone,
)
from pipeline.ytdlp.network import RequestCounter, refuse_private_addresses

_MAX_DEPTH = 3
_RETRIES = 3
_MAX_SUBTITLE_BYTES = 4_000_000
_SUBTITLES = "subtitles"
_CLIENT_ERRORS = range(400, 500)


class _Site(yt_dlp.YoutubeDL):  # type: ignore[misc]
    """yt-dlp that obeys a site which asks to be left alone, and can do without subtitles."""

    def __init__(self, options: dict[str, Any], counter: RequestCounter) -> None:
        super().__init__(options)
        self._counter = counter

    def urlopen(self, req: Any) -> Any:
        """Make a request."""
        try:
            return super().urlopen(req)
        except HTTPError as error:
            if asked := left_alone(error):
                raise asked from error
            raise

    def dl(self, name: str, info: dict[str, Any], subtitle: bool = False, test: bool = False) -> Any:
        """Download a file or a stream."""
        one_file = info.get("protocol") in ("http", "https")
        with nullcontext() if one_file else self._counter.as_one():
            try:
                return super().dl(name, info, subtitle=subtitle, test=test)
            except HTTPError as error:
                # A video is worth having without its subtitles.
                if subtitle and error.status in _CLIENT_ERRORS:
                    return False, False
                raise


class _Quiet:
    """yt-dlp's messages, kept off the answer's channel."""

    def debug(self, message: str) -> None:
        pass

    info = debug

    def warning(self, message: str) -> None:
        print(message, file=sys.stderr)  # noqa: T201 - standard error is this child's log

    error = warning


def main() -> None:
    """Do the job that standard input describes."""
    # Whatever prints, the answer alone goes to standard output.
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    job = json.load(sys.stdin)
    if not job["allow_private"]:
        refuse_private_addresses(job["proxy"])
    counter = RequestCounter()
    try:
        answer = {"list": _list, "pages": _pages, "fetch": _fetch}[job["do"]](job, counter)
    except EXPECTED as error:
        answer = answer_of(error)
    with os.fdopen(answer_fd, "w") as out:
        json.dump(answer | {"requests": counter.count}, out)


def _list(job: dict[str, Any], counter: RequestCounter) -> dict[str, Any]:
    options = {**_options(job), "extract_flat": "in_playlist", "playlistend": job["max_videos"]}
    with _Site(options, counter) as ydl:
        return {"videos": list(_videos(ydl, job["url"], job["max_videos"], _MAX_DEPTH))}


def _pages(job: dict[str, Any], counter: RequestCounter) -> dict[str, Any]:
    """What each page says; the rest is left unread where the site asks to be left alone."""
    pages = []
    with _Site({**_options(job), "ignore_no_formats_error": True, "noplaylist": True}, counter) as ydl:
        for url in job["urls"]:
            try:
                info = _first(ydl.extract_info(url, download=False))
                pages.append({"url": url, "info": _fields(info, url, info.get("extractor_key"))})
            except EXPECTED as error:
                pages.append({"url": url, **answer_of(error)})
                if pages[-1].get("failure") == "throttled":
                    break
    return {"pages": pages}


def _first(info: dict[str, Any]) -> dict[str, Any]:
    """A page that holds several videos stands for its first."""
    while info.get("_type") == "playlist":
        entry = next(iter(info.get("entries") or ()), None)
        if entry is None:
            raise yt_dlp.utils.DownloadError("there is no video on the page")
        info = entry
    return info


def _videos(ydl: Any, url: str, limit: int, depth: int) -> Iterator[dict[str, Any]]:
    info = ydl.extract_info(url, download=False, process=True)
    if info.get("_type") != "playlist":
        yield _fields(info, info.get("original_url") or url, info.get("extractor_key"))
        return
    count = 0
    for entry in info.get("entries") or ():
        if count >= limit:
            return
        page = entry.get("url") or entry.get("webpage_url")
        if not page:
            continue
        if entry.get("title") and entry.get("ie_key") not in _LISTS:
            count += 1
            fields = _fields(entry, page, entry.get("ie_key"))
            # A feed's items are bare links; the site's own id is the same wherever a video is found.
            yield fields if entry.get("ie_key") else fields | site_and_id(fields["url"])
        elif depth:
            for video in _videos(ydl, page, limit - count, depth - 1):
                count += 1
                yield video


def site_and_id(url: str) -> dict[str, str]:
    """Which site's video a URL is, without asking the site; nothing if that cannot be told."""
    try:
        extractor = next(e for e in yt_dlp.extractor.gen_extractor_classes() if e.suitable(url))
        site_id = extractor.get_temp_id(url)
    except ValueError:  # not a URL at all
        return {}
    # Of a list the id is the list's, which its videos share.
    if not site_id or extractor.is_single_video(url) is not True:
        return {}
    return {"site": extractor.ie_key(), "id": site_id}


def _fetch(job: dict[str, Any], counter: RequestCounter) -> dict[str, Any]:
    height = job["min_height_px"]
    folder = Path(job["folder"])
    options = {
        **_options(job),
        # The smallest rendition that serves, without sound if the site has it so; failing that
        # one that does not tell its height, failing that the best of those too small.
        "format": f"wv[height>={height}]/wv*[height>={height}]/wv*[height>=?{height}]/bv*",
        "outtmpl": {
            "default": str(folder / "source.%(format_id)#.40S.%(ext)s"),
            "subtitle": str(folder / f"{_SUBTITLES}.%(ext)s"),
        },
        "match_filter": partial(_refuse_unwanted, job["opt_out"]),
        "progress_hooks": [partial(_refuse_too_large, job["max_bytes"])],
        "writesubtitles": bool(job["subtitles"]),
        # A machine's subtitles where nobody wrote any.
        "writeautomaticsub": bool(job["subtitles"]),
        "subtitleslangs": [re.escape(language) for language in job["subtitles"]],
        "subtitlesformat": "vtt",
        "noplaylist": True,
        "playlistend": 1,
    }
    with _Site(options, counter) as ydl:
        info = _first(ydl.extract_info(job["url"], download=True))
    return {
        "path": info["requested_downloads"][0]["filepath"],
        "info": _fields(info, job["url"], info.get("extractor_key")) | kept_info(info, RENDITION),
        "subtitles": dict(_subtitles(job["subtitles"], folder)),
    }


def _subtitles(languages: list[str], folder: Path) -> Iterator[tuple[str, str]]:
    for language in languages:
        path = folder / f"{_SUBTITLES}.{language}.vtt"
        if path.is_file() and path.stat().st_size <= _MAX_SUBTITLE_BYTES:
            yield language, str(path)


def _fields(info: dict[str, Any], url: str, site: str | None) -> dict[str, Any]:
    # yt-dlp hides notes to itself behind the URL of a page.
    page, _ = yt_dlp.utils.unsmuggle_url(url)
    fields = kept_info(info, LASTING + PASSING) | {"id": info.get("id"), "url": page, "site": site}
    if isinstance(info.get("timestamp"), int) and not fields.get("upload_date"):
        # Only a page that was read in full has had this done to it by yt-dlp.
        fields["upload_date"] = f"{datetime.fromtimestamp(info['timestamp'], UTC):%Y%m%d}"
    return fields


def _refuse_unwanted(opt_out: list[str], info: dict[str, Any], *, incomplete: bool) -> None:
    """Called with all that the page says, before the first byte of the video is asked for."""
    if incomplete:
        return
    if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming"):
        raise LiveError("is live; it can be had when it has ended")
    if opt_out:
        from pipeline.opt_out import matching_entry

        if entry := matching_entry(tuple(opt_out), info):
            raise UnwantedError(entry)


def _refuse_too_large(max_bytes: int, progress: dict[str, Any]) -> None:
    """Unlike yt-dlp's own limit, for streams in parts and of unknown length too."""
    if max(progress.get("downloaded_bytes") or 0, progress.get("total_bytes") or 0) > max_bytes:
        raise TooLargeError(f"larger than {max_bytes / 1e9:g} GB")


_LISTS = frozenset({"YoutubeTab", "YoutubePlaylist", "YoutubeSearch"})


def _options(job: dict[str, Any]) -> dict[str, Any]:
    """yt-dlp's options for a job."""
    pause_s = job["stall_s"] / 30
    options: dict[str, Any] = {
        **_OPTIONS,
        "socket_timeout": job["stall_s"],
        "retry_sleep_functions": dict.fromkeys(
            ("http", "fragment", "extractor"), lambda n: pause_s * 2.0 ** min(n, _RETRIES)
        ),
        "sleep_interval_requests": job["pause_s"],
    }
    if job["user_agent"]:
        options["http_headers"] = {"User-Agent": job["user_agent"]}
    if job["proxy"]:
        options["proxy"] = job["proxy"]
    if job["cookies"]:
        # A stream, for yt-dlp writes what it was told back into a file, which others read meanwhile.
        options["cookiefile"] = io.StringIO(Path(job["cookies"]).read_text())
    if job["js_runtime"]:
        options["js_runtimes"] = {"deno": {"path": job["js_runtime"]}}
        os.environ |= {"DENO_DIR": str(Path(job["folder"]) / ".deno"), "DENO_NO_UPDATE_CHECK": "1"}
    return options


_OPTIONS: dict[str, Any] = {
    "logger": _Quiet(),
    "noprogress": True,
    "cachedir": False,
    "retries": _RETRIES,
    "fragment_retries": _RETRIES,
    "skip_unavailable_fragments": False,
    # Nothing but yt-dlp itself touches the bytes: no ffmpeg here, and no other program.
    "fixup": "never",
    "hls_prefer_native": True,
    "external_downloader": {"default": "native"},
    "js_runtimes": {},
    "ffmpeg_location": os.devnull,
    "postprocessors": [],
    "writethumbnail": False,
    "updatetime": False,
    "continuedl": True,
    "enable_file_urls": False,
}


if __name__ == "__main__":
    main()
