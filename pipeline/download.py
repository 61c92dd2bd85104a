"""yt-dlp in a child that can be killed: one job in, one answer out.

A site's page is hostile input to a large program. It runs apart, with a deadline, and hands back a
few checked fields; what goes wrong there is a class and a line here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.outcomes import Failed

_LIST_DEADLINE_S = 600.0
_MIN_FETCH_DEADLINE_S = 600.0
_FETCH_DEADLINE_PER_SOURCE_S = 2.0
_UNKNOWN_DURATION_S = 3600.0
_MAX_DURATION_S = 24 * 3600.0
_MAX_DETAIL_CHARS = 300

_MAX_BYTES = 32 * 10**9
"""What a site may fill the disk with: a day of video in a modest rendition."""


def list_videos(url: str, *, max_videos: int, allow_private: bool) -> list[dict[str, Any]]:
    """The videos behind a URL: fields of yt-dlp's info dict, with `url` and `site` for each.

    Raises:
        Failed: the URL cannot be read.
    """
    job = {"do": "list", "url": url, "max_videos": max_videos, "allow_private": allow_private}
    answer = _ask(job, _LIST_DEADLINE_S)
    return list(answer["videos"])


def download(
    url: str, folder: Path, *, min_height_px: int, allow_private: bool, duration_s: float | None
) -> tuple[Path, dict[str, Any]]:
    """Download one video stream into `folder`; bytes left there by an earlier try are continued.

    Returns:
        The file, and fields of yt-dlp's info dict.

    Raises:
        Failed: the video cannot be had.
    """
    job = {
        "do": "fetch",
        "url": url,
        "folder": str(folder),
        "min_height_px": min_height_px,
        "max_bytes": _MAX_BYTES,
        "allow_private": allow_private,
    }
    answer = _ask(job, _fetch_deadline_s(duration_s))
    return Path(answer["path"]), answer["info"]


def _fetch_deadline_s(duration_s: float | None) -> float:
    # The site says how long a video is, and may say anything.
    believed_s = min(duration_s or _UNKNOWN_DURATION_S, _MAX_DURATION_S)
    return max(_MIN_FETCH_DEADLINE_S, _FETCH_DEADLINE_PER_SOURCE_S * believed_s)


def _ask(job: dict[str, Any], deadline_s: float) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "pipeline.ytdlp_child"]
    try:
        done = subprocess.run(
            command, input=json.dumps(job).encode(), capture_output=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed("timeout", f"the site took longer than {deadline_s:.0f} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        last = _one_line(lines[-1] if lines else "")
        raise Failed("crashed", f"the downloader ended with {done.returncode}: {last}")
    answer: dict[str, Any] = json.loads(done.stdout)
    if "failure" in answer:
        raise Failed(answer["failure"], _one_line(answer["detail"]))
    return answer


def _one_line(text: str) -> str:
    """A server's words, safe to print: no colours, no control characters, not too many."""
    text = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)
    text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())[:_MAX_DETAIL_CHARS]
