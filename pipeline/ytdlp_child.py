"""The child of `pipeline.download`: one yt-dlp job from standard input, one answer to standard output."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yt_dlp
from yt_dlp.networking.exceptions import HTTPError

_FIELDS = (
    "id",
    "title",
    "description",
    "channel",
    "uploader",
    "duration",
    "license",
    "upload_date",
)
_MAX_DEPTH = 3
_STALL_S = 30
_RETRIES = 3
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddressError(OSError):
    """A name leads to this machine or its own network.

    An OSError, as what a look-up may raise: anything else yt-dlp takes for its own bug and hides.
    """


class TooLargeError(Exception):
    """More bytes than the job allows."""


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
        _refuse_private_addresses()
    try:
        answer = _list(job) if job["do"] == "list" else _fetch(job)
    except (yt_dlp.utils.YoutubeDLError, OSError, TooLargeError) as error:
        failure, detail = _classify(error)
        answer = {"failure": failure, "detail": detail}
    with os.fdopen(answer_fd, "w") as out:
        json.dump(answer, out)


def _list(job: dict[str, Any]) -> dict[str, Any]:
    options = {**_OPTIONS, "extract_flat": "in_playlist", "playlistend": job["max_videos"]}
    with yt_dlp.YoutubeDL(options) as ydl:
        return {"videos": list(_videos(ydl, job["url"], job["max_videos"], _MAX_DEPTH))}


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


def _fetch(job: dict[str, Any]) -> dict[str, Any]:
    height = job["min_height_px"]
    options = {
        **_OPTIONS,
        # The smallest rendition that serves, without sound if the site has it so; failing that
        # one that does not tell its height, failing that the best of those too small.
        "format": f"wv[height>={height}]/wv*[height>={height}]/wv*[height>=?{height}]/bv*",
        "outtmpl": {"default": str(Path(job["folder"]) / "source.%(format_id)#.40S.%(ext)s")},
        "progress_hooks": [partial(_refuse_too_large, job["max_bytes"])],
        "noplaylist": True,
        "playlistend": 1,
    }
    with yt_dlp.YoutubeDL(options) as ydl:
        info = ydl.extract_info(job["url"], download=True)
        while info.get("_type") == "playlist":
            info = next(iter(info["entries"]))
    path = info["requested_downloads"][0]["filepath"]
    return {"path": path, "info": {name: info.get(name) for name in _FIELDS}}


def _fields(info: dict[str, Any], url: str, site: str | None) -> dict[str, Any]:
    # yt-dlp hides notes to itself behind the URL of a page.
    page, _ = yt_dlp.utils.unsmuggle_url(url)
    fields = {name: info.get(name) for name in _FIELDS} | {"url": page, "site": site}
    if info.get("timestamp") and not fields["upload_date"]:
        # Only a page that was read in full has had this done to it by yt-dlp.
        fields["upload_date"] = f"{datetime.fromtimestamp(info['timestamp'], UTC):%Y%m%d}"
    return fields


def _refuse_too_large(max_bytes: int, progress: dict[str, Any]) -> None:
    """Unlike yt-dlp's own limit, for streams in parts and of unknown length too."""
    if max(progress.get("downloaded_bytes") or 0, progress.get("total_bytes") or 0) > max_bytes:
        raise TooLargeError(f"larger than {max_bytes / 1e9:g} GB")


def _refuse_private_addresses() -> None:
    """Every connection of this process looks its address up here, redirects included.

    A proxy of the environment is let through; which addresses it visits is then its affair.
    """
    look_up = socket.getaddrinfo
    proxies = _proxies()

    def public_only(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        found = look_up(host, port, *args, **kwargs)
        if (host, port) not in proxies and not all(is_public(str(entry[4][0])) for entry in found):
            raise PrivateAddressError(f"{host} is a private address; allow_private permits it")
        return found

    socket.getaddrinfo = public_only


def _proxies() -> set[tuple[str | None, int]]:
    """Host and port of every proxy that the environment names."""
    urls = (v if "://" in v else f"http://{v}" for k, v in urllib.request.getproxies().items() if k != "no")
    ports = {"http": 80, "https": 443}
    return {(u.hostname, u.port or ports.get(u.scheme, 1080)) for u in map(urlsplit, urls)}


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, and so is the IPv4 address it may embed."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if embedded:
            return is_public(str(embedded))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _classify(error: BaseException) -> tuple[str, str]:
    """Failure class and one line."""
    detail = next((line for line in str(error).removeprefix("ERROR: ").splitlines() if line), repr(error))
    for cause in _causes(error):
        if isinstance(cause, PrivateAddressError):
            return "unavailable", str(cause)
        if isinstance(cause, TooLargeError):
            return "unsafe", str(cause)
        if isinstance(cause, HTTPError) and cause.status in (403, 429):
            return "throttled", detail
    return "unavailable", detail


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        wrapped = getattr(error, "exc_info", None)
        error = error.__cause__ or error.__context__ or (wrapped[1] if wrapped else None)


_LISTS = frozenset({"YoutubeTab", "YoutubePlaylist", "YoutubeSearch"})

_OPTIONS: dict[str, Any] = {
    "logger": _Quiet(),
    "noprogress": True,
    "cachedir": False,
    "socket_timeout": _STALL_S,
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
