"""Opting out: videos that are never fetched, because somebody asked for that.

An entry is a video's id (ours, or the site's own), `channel: ` and a channel's name or id, or a URL in
which `*` stands for anything. In a file, an entry has a line of its own, and `#` begins a comment.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ConfigDict, RootModel, field_validator, model_validator

from shards.keys import site_video_id
from shards.records import Video

_CHANNEL = re.compile(r"channel:\s*", re.IGNORECASE)
_SCHEME = re.compile(r"^(https?://)?(www\.)?", re.IGNORECASE)
_COMMENT = re.compile(r"(^|\s)#.*")
_COLUMNS = ("video_id", "url", "channel", "found_at")


class OptOut(RootModel[tuple[str, ...]]):
    """Entries, as a list in the config or as the path of a file that holds them."""

    model_config = ConfigDict(frozen=True)

    root: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, told: Any) -> Any:
        if not isinstance(told, str):
            return told
        path = Path(told).expanduser()
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            raise ValueError(f"{told!r}: no such file; give a text file with an entry a line") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{told!r}: cannot be read ({error}); give a text file in UTF-8") from None
        entries = [_COMMENT.sub("", line).strip() for line in lines]
        for number, entry in enumerate(entries, 1):
            if entry and (mistake := _mistake(entry)):
                raise ValueError(f"{told!r}: line {number}: {mistake}")
        return [entry for entry in entries if entry]

    @field_validator("root")
    @classmethod
    def _say_something(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            if mistake := _mistake(entry):
                raise ValueError(mistake)
        return entries

    def match(self, video: Video, info: Mapping[str, Any] | None = None) -> str | None:
        """The entry that a video matches, if there is one.

        Args:
            info: fields of yt-dlp's info dict, which know the channel's id too.
        """
        if not self.root:
            return None
        known = _compiled(self.root)
        return known.match(
            _ids(video.video_id, info), _channels(info, video.channel), (video.url, *video.found_at)
        )

    def match_table(self, candidates: pa.Table) -> pa.Array:
        """For each row of a table of candidates the entry that it matches, or null.

        Args:
            candidates: with the columns of `CANDIDATE_SCHEMA`; a column `info`, where there is one, holds
                fields of yt-dlp's info dict as JSON.
        """
        if not self.root:
            return pa.nulls(len(candidates), pa.string())
        known = _compiled(self.root)
        columns = [candidates[name].to_pylist() for name in _COLUMNS]
        # Where URLs alone are listed, what else was said need not be read: that takes the longest.
        infos = (
            candidates["info"].to_pylist()
            if "info" in candidates.column_names and (known.ids or known.channels)
            else repeat(None, len(candidates))
        )
        matched = []
        for video_id, url, channel, found_at, text in zip(*columns, infos, strict=True):
            info = json.loads(text) if text else None
            matched.append(known.match(_ids(video_id, info), _channels(info, channel), (url, *found_at)))
        return pa.array(matched, pa.string())


def matching_entry(entries: tuple[str, ...], info: Mapping[str, Any]) -> str | None:
    """The entry that a page matches, by what the page itself says: yt-dlp's whole info dict."""
    site, site_id = info.get("extractor_key"), info.get("id")
    ours = site_video_id(str(site), str(site_id)) if site and site_id else ""
    urls = [info.get(name) for name in ("webpage_url", "original_url")]
    return _compiled(entries).match(
        _ids(ours, info), _channels(info, None), [url for url in urls if isinstance(url, str)]
    )


@dataclass(frozen=True)
class _Known:
    """Entries by kind, each with how it was written.

    Attributes:
        patterns: URLs by what stands before their first star: the parts between stars, and the entry.
            So a URL is held against a few of them, however many there are.
        prefix_chars: how long those beginnings are.
    """

    ids: Mapping[str, str]
    channels: Mapping[str, str]
    patterns: Mapping[str, Sequence[tuple[tuple[str, ...], str]]]
    prefix_chars: tuple[int, ...]

    def match(self, ids: Iterable[str], channels: Iterable[str], urls: Iterable[str]) -> str | None:
        """One of the entries that are matched: an id before a channel, and that before a URL."""
        if self.ids:
            for value in ids:
                if value in self.ids:
                    return self.ids[value]
        if self.channels:
            for value in channels:
                if value in self.channels:
                    return self.channels[value]
        if self.patterns:
            for url in dict.fromkeys(urls):
                if entry := self._match_url(_SCHEME.sub("", url)):
                    return entry
        return None

    def _match_url(self, plain: str) -> str | None:
        for chars in self.prefix_chars:
            for parts, entry in self.patterns.get(plain[:chars], ()):
                if _fits(parts, plain):
                    return entry
        return None


@lru_cache(maxsize=4)
def _compiled(entries: tuple[str, ...]) -> _Known:
    ids: dict[str, str] = {}
    channels: dict[str, str] = {}
    patterns: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for entry in entries:
        if _CHANNEL.match(entry):
            channels[_plain(_CHANNEL.sub("", entry, count=1))] = entry
        elif _is_url(entry):
            parts = tuple(_SCHEME.sub("", entry).split("*"))
            patterns.setdefault(parts[0], []).append((parts, entry))
        else:
            ids[entry] = entry
    return _Known(ids, channels, patterns, tuple(sorted({len(prefix) for prefix in patterns})))


def _mistake(entry: str) -> str | None:
    """What is wrong with an entry, which would otherwise match everything, or nothing."""
    if not _SCHEME.sub("", _CHANNEL.sub("", entry)).strip("*/ "):
        return f"{entry!r} names nothing; give an id, `channel: NAME` or a URL"
    if not _CHANNEL.match(entry) and not _is_url(entry) and re.search(r"\s", entry):
        return f"{entry!r} is no id, which has no spaces; a channel is `channel: {entry}`"
    return None


def _is_url(entry: str) -> bool:
    return "*" in entry or "/" in entry


def _fits(parts: tuple[str, ...], text: str) -> bool:
    """Whether a text is these parts with anything between them; each part is looked for once."""
    first, *rest = parts
    if not rest:
        return text == first
    last = rest.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for part in rest:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def _ids(video_id: str, info: Mapping[str, Any] | None) -> Iterator[str]:
    yield video_id
    # Where the site's id could be had in ours whole, it is what follows the site.
    yield video_id.partition("-")[2]
    if info and info.get("id"):
        yield str(info["id"])


def _channels(info: Mapping[str, Any] | None, channel: str | None) -> Iterator[str]:
    told = [
        channel,
        *((info or {}).get(name) for name in ("channel", "uploader", "channel_id", "uploader_id")),
    ]
    for name in told:
        if isinstance(name, str):
            yield _plain(name)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()
