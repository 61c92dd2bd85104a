"""yt-dlp in a child that can be killed: one job in, one answer out.

A site's page is hostile input to a large program. It runs apart, with a deadline, and hands back a
few checked fields; what goes wrong there is a class and a line here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.outcomes import Failed, Rejected
from pipeline.youtube import is_youtube, js_runtime
from shards.errors import UserError

STALL_VARIABLE = "GENIESET_STALL_S"
"""Environment variable: how long a server may keep silent, in seconds. Tests make it short."""

_STALL_S = 30.0
_LIST_DEADLINE_S = 600.0
_PAGE_DEADLINE_S = 120.0
_MIN_FETCH_DEADLINE_S = 600.0
_FETCH_DEADLINE_PER_SOURCE_S = 2.0
_UNKNOWN_DURATION_S = 3600.0
_MAX_DURATION_S = 24 * 3600.0
_MAX_DETAIL_CHARS = 300

_MAX_BYTES = 32 * 10**9
"""What a site may fill the disk with: a day of video in a modest rendition."""


@dataclass(frozen=True)
class Visit:
    """How a site is visited.

    Attributes:
        allow_private: whether addresses of this machine and its network may be visited.
        cookies: path of a file of cookies, as browsers export them (Netscape's format).
        proxy: URL of a proxy.
        user_agent: what the downloader says it is.
        pause_s: between two requests for pages.
    """

    allow_private: bool = False
    cookies: str | None = None
    proxy: str | None = None
    user_agent: str | None = None
    pause_s: float = 0.0


@dataclass(frozen=True)
class Download:
    """A video's bytes, and what came with them.

    Attributes:
        info: fields of yt-dlp's info dict.
        subtitles: language -> a WebVTT file.
        requests: how many requests were made; the segments of a stream count as one.
    """

    path: Path
    info: dict[str, Any]
    subtitles: dict[str, Path]
    requests: int


def list_videos(url: str, visit: Visit, *, max_videos: int) -> list[dict[str, Any]]:
    """The videos behind a URL: fields of yt-dlp's info dict, with `url` and `site` for each.

    Raises:
        Failed: the URL cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = {"do": "list", "url": url, "max_videos": max_videos, **_common(visit, url, Path(folder))}
        answer = _ask(job, _LIST_DEADLINE_S + max_videos * visit.pause_s)
    return list(answer["videos"])


def read_pages(urls: Sequence[str], visit: Visit) -> list[dict[str, Any]]:
    """What each page says: `url`, and `info` or else `failure` with its `detail` and `passing`.

    Pages are left out where the site asks to be left alone before they are read.

    Raises:
        Failed: none of them can be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = {"do": "pages", "urls": list(urls), **_common(visit, urls[0], Path(folder))}
        answer = _ask(job, len(urls) * (_PAGE_DEADLINE_S + 4 * visit.pause_s))
    return [
        page | {"detail": _one_line(_without_secrets(page["detail"], visit))} if "detail" in page else page
        for page in answer["pages"]
    ]


def download(
    url: str,
    folder: Path,
    visit: Visit,
    *,
    min_height_px: int,
    duration_s: float | None,
    subtitles: Sequence[str] = (),
    opt_out: Sequence[str] = (),
) -> Download:
    """Download one video stream into `folder`; bytes left there by an earlier try are continued.

    Args:
        subtitles: languages in which they are wanted, if there are any.
        opt_out: entries; what the page says is held against them before the video is asked for.

    Raises:
        Failed: the video cannot be had.
        Rejected: it has opted out.
        UserError: the disk is full.
    """
    job = {
        "do": "fetch",
        "url": url,
        "min_height_px": min_height_px,
        "max_bytes": _MAX_BYTES,
        "subtitles": list(subtitles),
        "opt_out": list(opt_out),
        **_common(visit, url, folder),
    }
    answer = _ask(job, _fetch_deadline_s(duration_s))
    paths = {language: Path(path) for language, path in answer["subtitles"].items()}
    return Download(Path(answer["path"]), answer["info"], paths, answer["requests"])


def _common(visit: Visit, url: str, folder: Path) -> dict[str, Any]:
    return {
        **vars(visit),
        "folder": str(folder),
        "stall_s": float(os.environ.get(STALL_VARIABLE, _STALL_S)),
        # No site but YouTube has a program of its own run.
        "js_runtime": js_runtime() if is_youtube(url) else None,
    }


def _fetch_deadline_s(duration_s: float | None) -> float:
    # The site says how long a video is, and may say anything.
    believed_s = min(duration_s or _UNKNOWN_DURATION_S, _MAX_DURATION_S)
    return max(_MIN_FETCH_DEADLINE_S, _FETCH_DEADLINE_PER_SOURCE_S * believed_s)


def _ask(job: dict[str, Any], deadline_s: float) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "pipeline.ytdlp.child"]
    visit = Visit(**{name: job[name] for name in Visit.__dataclass_fields__})
    try:
        done = subprocess.run(
            command, input=json.dumps(job).encode(), capture_output=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed("timeout", f"the site took longer than {deadline_s:.0f} s", passing=True) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        last = _one_line(_without_secrets(lines[-1] if lines else "", visit))
        raise Failed("crashed", f"the downloader ended with {done.returncode}: {last}")
    answer: dict[str, Any] = json.loads(done.stdout)
    detail = _one_line(_without_secrets(answer.get("detail", ""), visit))
    if "full" in answer:
        raise UserError(
            f"{job['folder']}: {answer['full']}; make room, then the same command goes on from here"
        )
    if "rejected" in answer:
        raise Rejected(answer["rejected"], detail, requests=answer["requests"])
    if "failure" in answer:
        raise Failed(
            answer["failure"],
            detail,
            passing=answer["passing"],
            retry_after_s=answer["retry_after_s"],
            requests=answer["requests"],
        )
    return answer


def _without_secrets(text: str, visit: Visit) -> str:
    """A message without the proxy's password or the place of the cookies."""
    secrets = [visit.cookies, visit.proxy]
    if visit.proxy:
        parts = urlsplit(visit.proxy)
        secrets += [parts.netloc.rpartition("@")[0], parts.password]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def _one_line(text: str) -> str:
    """A server's words, safe to print: no colours, no control characters, not too many."""
    text = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)
    text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())[:_MAX_DETAIL_CHARS]
