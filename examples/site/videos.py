"""The videos that a site shows, and what is known of each."""

from __future__ import annotations

import glob
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

VIDEO_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
}
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Video:
    """A video file and what its `.info.json` says, cleaned of what XML cannot carry."""

    path: Path
    title: str
    description: str
    channel: str
    licence: str
    tags: tuple[str, ...]
    duration_s: float | None
    width: int | None
    height: int | None
    fps: float | None
    uploaded_at: datetime | None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Take what the sidecar knows; a file without one is still a video, named by its stem."""
        sidecar = path.with_suffix(".info.json")
        info: dict[str, Any] = json.loads(sidecar.read_bytes()) if sidecar.exists() else {}

        def text(*keys: str) -> str:
            return UNPRINTABLE.sub("", str(next((info[k] for k in keys if info.get(k)), "")))

        day = text("upload_date")
        return cls(
            path=path,
            title=text("title") or path.stem,
            description=text("description"),
            channel=text("channel", "uploader"),
            licence=text("license"),
            tags=tuple(UNPRINTABLE.sub("", str(tag)) for tag in info.get("tags") or ()),
            duration_s=info.get("duration"),
            width=info.get("width"),
            height=info.get("height"),
            fps=info.get("fps"),
            uploaded_at=datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) if day else None,
        )

    @property
    def stem(self) -> str:
        """The video's id in every address of the site."""
        return self.path.stem

    def captions(self) -> dict[str, Path]:
        """Find the caption files by language, named `<stem>.<language>.vtt`."""
        files = self.path.parent.glob(f"{glob.escape(self.stem)}.*.vtt")
        return {file.name[len(self.stem) + 1 : -len(".vtt")]: file for file in sorted(files)}


def read_videos(folder: Path) -> list[Video]:
    """List what is to be published, newest first; one address cannot mean two files."""
    videos: dict[str, Video] = {}
    for path in sorted(folder.resolve(strict=True).rglob("*")):
        if path.suffix.lower() in VIDEO_TYPES and path.is_file():
            if path.stem in videos:
                raise ValueError(f"two videos are called {path.stem!r} in {folder}")
            videos[path.stem] = Video.read(path)
    undated = datetime.min.replace(tzinfo=UTC)
    return sorted(videos.values(), key=lambda v: v.uploaded_at or undated, reverse=True)
