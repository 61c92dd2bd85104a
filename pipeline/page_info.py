"""What a page says of its video, fit to be kept: known fields, of bounded size, without anything secret.

yt-dlp's info dict holds signed URLs, HTTP headers and cookies beside what is worth keeping, and every
text in it is a stranger's. So fields are kept by name, not left out by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LASTING = (
    *("id", "display_id", "title", "alt_title", "description", "license", "webpage_url", "extractor_key"),
    *("channel", "channel_id", "channel_url", "uploader", "uploader_id", "uploader_url", "creators"),
    *("upload_date", "timestamp", "release_date", "release_timestamp", "release_year"),
    *("duration", "age_limit", "categories", "tags", "cast", "genres", "language", "location"),
    *("live_status", "was_live", "media_type", "availability", "chapters"),
    *("series", "series_id", "season", "season_number", "episode", "episode_number"),
)
"""Fields that a page tells again when it is read again."""

PASSING = (
    *("view_count", "like_count", "dislike_count", "comment_count", "repost_count"),
    *("average_rating", "channel_follower_count", "channel_is_verified", "concurrent_view_count"),
)
"""Fields that change by the hour: they are worth a look, and would make equal fetches differ."""

RENDITION = ("format_id", "ext", "width", "height", "fps", "vcodec", "dynamic_range")
"""Fields of what was downloaded."""

_MAX_TEXT_CHARS = 500
_MAX_DESCRIPTION_CHARS = 20_000
_MAX_ITEMS = 300
_MAX_DEPTH = 3
_MAX_NUMBER = 1e15


def kept_info(info: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The fields of these names that are there, cleaned."""
    kept = {}
    for name in names:
        limit = _MAX_DESCRIPTION_CHARS if name == "description" else _MAX_TEXT_CHARS
        value = _clean(info.get(name), limit, _MAX_DEPTH)
        if value not in (None, "", [], {}):
            kept[name] = value
    return kept


def info_text(info: Mapping[str, Any]) -> str:
    """As it is stored: equal fields become equal text."""
    return json.dumps(info, sort_keys=True, ensure_ascii=False)


def clean_text(value: Any, limit: int) -> str | None:
    """Text that is safe to print: no control characters but line breaks, no lone surrogates."""
    if not isinstance(value, str):
        return None
    value = value[: 2 * limit].encode(errors="replace").decode()
    return "".join(c for c in value if c == "\n" or c.isprintable())[:limit].strip() or None


def _clean(value: Any, limit: int, depth: int) -> Any:
    match value:
        case bool():
            return value
        case int() | float():
            return value if -_MAX_NUMBER < value < _MAX_NUMBER else None
        case str():
            return clean_text(value, limit)
        case list() | tuple() if depth:
            return [_clean(item, limit, depth - 1) for item in value[:_MAX_ITEMS]]
        case dict() if depth:
            items = list(value.items())[:_MAX_ITEMS]
            return {
                clean_text(str(key), _MAX_TEXT_CHARS) or "": _clean(item, limit, depth - 1)
                for key, item in items
            }
    return None
