"""Opting out: videos that are never fetched, because somebody asked for that.

An entry is a video's id (ours, or the site's own), `channel: ` and a channel's name or id, or a URL in
which `*` stands for anything. In a file, an entry has a line of its own, and `#` begins a comment.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ConfigDict, RootModel, field_validator, model_validator

from shards.keys import site_video_id
from shards.records import Video

_CHANNEL = re.compile(r"channel:\s*", re.IGNORECASE)
_SCHEME = re.compile(r"https?://(www\.)?", re.IGNORECASE)
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
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise ValueError(f"{told!r}: no such file; give a text file with an entry a line") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{told!r}: cannot be read ({error}); give a text file in UTF-8") from None
        return [entry for line in lines if (entry := _COMMENT.sub("", line).strip())]

    @field_validator("root")
    @classmethod
    def _say_something(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            if not _CHANNEL.sub("", entry).strip("* "):
                raise ValueError(f"{entry!r} names nothing; give an id, `channel: NAME` or a URL")
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
        infos = candidates["info"].to_pylist() if "info" in candidates.column_names else None
        matched = []
        for place, (video_id, url, channel, found_at) in enumerate(zip(*columns, strict=True)):
            text = infos[place] if infos else None
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
        patterns: the parts of a URL between its stars.
    """

    ids: Mapping[str, str]
    channels: Mapping[str, str]
    patterns: tuple[tuple[tuple[str, ...], str], ...]

    def match(self, ids: Iterable[str], channels: Iterable[str], urls: Iterable[str]) -> str | None:
        """The first entry that is matched: ids first, then channels, then URLs."""
        for value in ids:
            if value in self.ids:
                return self.ids[value]
        for value in channels:
            if value in self.channels:
                return self.channels[value]
        if self.patterns:
            for url in urls:
                plain = _SCHEME.sub("", url, count=1)
                for parts, entry in self.patterns:
                    if _fits(parts, plain):
                        return entry
        return None


@lru_cache(maxsize=4)
def _compiled(entries: tuple[str, ...]) -> _Known:
    ids, channels, patterns = {}, {}, []
    for entry in entries:
        if _CHANNEL.match(entry):
            channels[_plain(_CHANNEL.sub("", entry, count=1))] = entry
        elif "*" in entry or "/" in entry:
            patterns.append((tuple(_SCHEME.sub("", entry, count=1).split("*")), entry))
        else:
            ids[entry] = entry
    return _Known(ids, channels, tuple(patterns))


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
