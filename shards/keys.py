"""Names of videos and clips, and the split a video belongs to.

A WebDataset reader cuts a member's name at the first dot of its base name, so a key never has one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

# A tar member's plain (ustar) name ends at 100 bytes; "_00000000" and the longest member suffix
# stay within it, so that no shard ever needs an extension header.
MAX_VIDEO_ID_CHARS = 72
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]+")
_KEY = re.compile(r"(?P<video_id>[A-Za-z0-9_-]+)_(?P<frame>\d{8,})")


def site_video_id(site: str, site_id: str) -> str:
    """`<site>-<id>`; characters that a key may not hold, or too many, are replaced by a hash.

    >>> site_video_id("youtube", "dQw4w9WgXcQ")
    'youtube-dQw4w9WgXcQ'
    """
    site = re.sub(r"[^a-z0-9]+", "-", site.lower()).strip("-") or "site"
    candidate = f"{site}-{site_id}"
    if _VIDEO_ID.fullmatch(candidate) and len(candidate) <= MAX_VIDEO_ID_CHARS:
        return candidate
    return f"{site[:40]}-{_digest(site_id)}"


def url_video_id(url: str) -> str:
    """Host and a hash of the URL, for a page whose site has no ids of its own.

    The fragment is left out: it names a place on the page, not another page.
    """
    page = url.partition("#")[0]
    try:
        host = urlsplit(page).hostname
    except ValueError:  # a stranger's feed may hold anything
        host = None
    return site_video_id(host or "url", _digest(page))


def file_video_id(sha256_hex: str) -> str:
    """`file-<hash of content>`, so that a copied or renamed file is the same video."""
    return f"file-{sha256_hex[:20]}"


def clip_key(video_id: str, first_frame: int) -> str:
    """`<video_id>_<first frame:08d>`; frames are counted at the clip's frame rate.

    Raises:
        ValueError: `video_id` holds other characters than letters, digits, `_` and `-`, is empty or
            longer than `MAX_VIDEO_ID_CHARS`, or `first_frame` is negative.
    """
    if not _VIDEO_ID.fullmatch(video_id) or len(video_id) > MAX_VIDEO_ID_CHARS:
        raise ValueError(f"not a video id: {video_id!r}")
    if first_frame < 0:
        raise ValueError(f"a clip cannot begin at frame {first_frame}")
    return f"{video_id}_{first_frame:08d}"


def parse_key(key: str) -> tuple[str, int]:
    """The inverse of `clip_key`.

    Raises:
        ValueError: `key` is not a clip's key.
    """
    match = _KEY.fullmatch(key)
    if not match:
        raise ValueError(f"not a clip key: {key!r}; expected <video_id>_<first frame, 8 digits>")
    return match["video_id"], int(match["frame"])


def split_of(video_id: str, shares: Mapping[str, float]) -> str:
    """The split of a video: a hash of its id alone, so it never moves and never leaks.

    Args:
        shares: split name -> share in [0, 1]; the shares sum to 1. Their order is of no account.
    """
    place = int.from_bytes(hashlib.sha256(b"split:" + video_id.encode()).digest()[:8], "big") / 2**64
    name = ""
    for name, share in sorted(shares.items()):
        if place < share:
            return name
        place -= share
    return name


def _digest(text: str) -> str:
    # A stranger's text may hold what is no character.
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:20]
