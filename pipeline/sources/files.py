"""Videos that are already here: a file, a folder, or a glob."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pipeline.opt_out import OptOut
from pipeline.outcomes import Failed
from pipeline.sources.base import Fetched, Found, Source, found_from_info
from shards.errors import SettingError
from shards.keys import file_video_id
from shards.records import Video

_SIDECARS = frozenset({".json", ".vtt", ".srt", ".ass", ".txt", ".md", ".jpg", ".png", ".webp"})
_INFO_SUFFIX = ".info.json"


class FilesSource(Source):
    """Local video files.

    Of a folder every file is taken, at any depth, but dot-files and sidecars: what cannot be
    decoded is a recorded state, not a silent skip. `<video>.info.json` beside a video (yt-dlp's
    convention) gives title, description and channel; without one the file's name is the title.

    Attributes:
        path: a file, a folder or a glob (`~` and `**` are understood).
    """

    kind: Literal["files"] = "files"
    path: str

    def discover(
        self,
        problem: Callable[[str], None],
        known: Container[str] = (),  # noqa: ARG002 - a sidecar may have changed
        pause_s: Callable[[str], float] | None = None,  # noqa: ARG002 - there is no site
    ) -> Iterator[Found]:
        """Every video once, known by a hash of its bytes."""
        for path in self._paths():
            try:
                str(path).encode()
                video_id = _video_id(path)
            except UnicodeEncodeError:
                problem(f"{_shown(path)}: its name is not UTF-8; rename it to have it taken")
                continue
            except OSError as error:
                problem(f"{_shown(path)}: cannot be read ({error.strerror})")
                continue
            info = _read_info(path, problem)
            info.setdefault("title", path.stem)
            yield found_from_info(video_id, self.kind, str(path), info)

    def fetch(self, video: Video, folder: Path, opt_out: OptOut | None = None) -> Fetched:  # noqa: ARG002 - the bytes are here
        """The file itself, if it still holds the bytes that were found."""
        fate = "is gone"
        for url in dict.fromkeys((video.url, *video.found_at)):
            try:
                if _video_id(Path(url)) == video.video_id:
                    return Fetched(Path(url), replace(video, url=url))
                fate = "has changed since it was found"
            except FileNotFoundError:
                continue
            except OSError as error:
                fate = f"cannot be read ({error.strerror})"
        raise Failed("unavailable", f"{_shown(Path(video.url))}: the file {fate}")

    def _paths(self) -> list[Path]:
        root = Path(self.path).expanduser().absolute()
        if root.is_file():
            return [root]
        if root.is_dir():
            found = (
                p for p in root.rglob("*") if not any(_hidden(part) for part in p.relative_to(root).parts)
            )
        elif glob.has_magic(self.path):
            found = (Path(p) for p in glob.glob(str(root), recursive=True))  # noqa: PTH207 - absolute and ~
        else:
            raise SettingError("path", f"{self.path!r}: no such file or folder, seen from {Path.cwd()}")
        paths = sorted(p for p in found if p.suffix.lower() not in _SIDECARS and p.is_file())
        if not paths:
            raise SettingError(
                "path", f"{self.path!r}: holds no video files; sidecars and dot-files are no videos"
            )
        return paths


def _video_id(path: Path) -> str:
    with path.open("rb") as file:
        return file_video_id(hashlib.file_digest(file, "sha256").hexdigest())


def _shown(path: Path) -> str:
    """The path on one line, whatever it holds."""
    return str(path) if str(path).isprintable() else repr(str(path))


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _read_info(path: Path, problem: Callable[[str], None]) -> dict[str, Any]:
    for sidecar in (path.with_suffix(_INFO_SUFFIX), path.with_name(path.name + _INFO_SUFFIX)):
        if sidecar.is_file():
            try:
                info = json.loads(sidecar.read_bytes())
            except (OSError, ValueError, RecursionError) as error:
                problem(
                    f"{_shown(sidecar)}: is not readable JSON ({error}); the file's name is taken as title"
                )
                return {}
            if isinstance(info, dict):
                return info
            problem(f"{_shown(sidecar)}: is not a JSON object; the file's name is taken as title")
    return {}
