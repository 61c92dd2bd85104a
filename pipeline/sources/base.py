"""The source contract: which videos there are, and how the bytes of one are had."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pipeline import sources
from pipeline.opt_out import OptOut
from pipeline.page_info import LASTING, PASSING, clean_text, info_text, kept_info
from shards.records import Video
from shards.settings import Block

_MAX_TITLE_CHARS = 500
_MAX_DESCRIPTION_CHARS = 5000


@dataclass(frozen=True)
class Found:
    """A video that discovery saw.

    Attributes:
        info: all that was said of it and is fit to be kept, as JSON; None if nothing was.
    """

    video: Video
    info: str | None = None


@dataclass(frozen=True)
class Fetched:
    """A video's bytes on this machine, and what fetching them taught about it.

    Attributes:
        beside: what came with the video and is kept with its pack, by name (`info.json`, `en.vtt`).
        requests: how many requests the site was asked.
    """

    path: Path
    video: Video
    beside: Mapping[str, bytes] = field(default_factory=dict)
    requests: int = 0


_NOBODY = OptOut()


def _no_pause(site: str) -> float:  # noqa: ARG001 - this is the answer for all sites
    return 0.0


class Source(Block, ABC):
    """One entry of `sources:` in a build's config; a subclass is one kind of source.

    The subclass declares its settings as fields and `kind` as a `Literal` of one name.
    """

    kind: str

    limits: ClassVar[frozenset[str]] = frozenset()
    """Settings that say how much is taken, and how; what was found under others stays found."""

    @abstractmethod
    def discover(
        self,
        problem: Callable[[str], None],
        known: Container[str] = frozenset(),
        pause_s: Callable[[str], float] = _no_pause,
    ) -> Iterator[Found]:
        """The videos there are.

        Args:
            problem: is told, in one line, of each part of the source that could not be read.
            known: ids of videos that need not be looked at again: of them it is enough to say that they
                are there.
            pause_s: how long to wait between two requests to a site; infinite if it is not to be asked.

        Raises:
            SettingError: a setting leads nowhere (a folder that does not exist).
        """

    @abstractmethod
    def fetch(self, video: Video, folder: Path, opt_out: OptOut = _NOBODY) -> Fetched:
        """Bring a video's bytes to this machine, into `folder` if they are not here already.

        Args:
            opt_out: is asked again where the place that brings the video knows more of it.

        Raises:
            Failed: they cannot be had.
            Rejected: the video has opted out.
        """

    def for_wide(self) -> Source:
        """The source as it is asked where wide frames are made: for pictures that are large enough."""
        return self

    def check(self) -> None:
        """See, before a run, that what the source needs is there.

        Raises:
            SettingError: something is missing.
        """

    def site(self, video: Video) -> str | None:  # noqa: ARG002 - this is the answer for all videos
        """Whose server is asked for a video: the name its budget is kept under. None: nobody's."""
        return None

    @property
    def hash(self) -> str:
        """Names the source's table of candidates."""
        where = self.model_dump_json(exclude=set(self.limits))
        return hashlib.sha256(where.encode()).hexdigest()[:16]

    @property
    def shaping(self) -> dict[str, Any]:
        """The settings that decide which bytes of a video are fetched, where they are not the usual ones.

        They are part of the settings that name packs: where one changes, everything is cut anew.
        """
        return {}


@cache
def source_kinds() -> dict[str, type[Source]]:
    """Every kind of source there is, by its name."""
    found: dict[str, type[Source]] = {}
    for module_info in pkgutil.iter_modules(sources.__path__):
        module = importlib.import_module(f"pipeline.sources.{module_info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Source) and value is not Source:
                found[value.model_fields["kind"].default] = value
    return found


def found_from_info(video_id: str, source: str, url: str, info: dict[str, Any]) -> Found:
    """A video that was found, with all that is fit to be kept of an info dict."""
    kept = kept_info(info, LASTING + PASSING)
    return Found(video_from_info(video_id, source, url, info), info_text(kept) if kept else None)


def video_from_info(video_id: str, source: str, url: str, info: dict[str, Any]) -> Video:
    """A video from the fields of a yt-dlp info dict, which a stranger may have written."""
    return Video(
        video_id=video_id,
        source=source,
        url=url,
        title=clean_text(info.get("title"), _MAX_TITLE_CHARS),
        description=clean_text(info.get("description"), _MAX_DESCRIPTION_CHARS),
        channel=clean_text(info.get("channel") or info.get("uploader"), _MAX_TITLE_CHARS),
        duration_s=_number(info.get("duration")),
        licence=clean_text(info.get("license"), _MAX_TITLE_CHARS),
        uploaded_at=clean_text(info.get("upload_date"), _MAX_TITLE_CHARS),
        found_at=(url,),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e9 else None
