"""What YouTube needs: it hides its media behind a program of its own, which something has to run.

yt-dlp runs it in Deno, a runtime that gives a program neither files nor network unless told to. Both
Deno and yt-dlp's part in it are an extra, since no other site needs them.
"""

from __future__ import annotations

import importlib.util
import re
from urllib.parse import urlsplit

SITE = "youtube"
"""What its extractor is called, and its budget."""

INSTALL = ".venv/bin/pip install --constraint constraints.txt --editable '.[youtube]'"
"""The command that installs the extra, in the folder of the checkout."""

_HOST = re.compile(r"(.*\.)?(youtube\.com|youtu\.be|youtube-nocookie\.com)")
_SEARCH = re.compile(r"yt(search|searchdate)(\d*|all):")


def is_youtube(url: str) -> bool:
    """Whether a URL, or a search in yt-dlp's notation, is YouTube's."""
    try:
        host = urlsplit(url).hostname
    except ValueError:  # a stranger's feed may hold anything
        return False
    return bool(_SEARCH.match(url) or _HOST.fullmatch(host or ""))


def js_runtime() -> str | None:
    """The path of Deno, if the extra is installed."""
    if not importlib.util.find_spec("yt_dlp_ejs") or not importlib.util.find_spec("deno"):
        return None
    from deno import find_deno_bin

    try:
        return str(find_deno_bin())
    except FileNotFoundError:
        return None
