"""Where a source's picture goes in the frame of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.probe import Probe
from shards.codec import HEIGHT_PX, WIDTH_PX
from shards.records import ContentBox
from shards.settings import Block

WIDE_PX = 640
"""No side of a wide frame is longer."""


class FrameSettings(Block):
    """What shapes the frames of a clip.

    Attributes:
        fit: `pad` shows the whole picture and fills up with black; `crop` fills the frame and
            loses the edges; `stretch` fills it and bends the picture.
        allow_low_fps: cut sources of less than 10 frames a second too, by repeating frames.
        ffmpeg: `bundled`, the pinned binary that pip installed, or `system`, the one on the PATH.
        wide: keep about four larger frames of each clip beside its pack, also where no scorer wants
            them yet; whoever does has them measured without another download.
    """

    fit: Literal["pad", "crop", "stretch"] = "pad"
    allow_low_fps: bool = False
    ffmpeg: Literal["bundled", "system"] = "bundled"
    wide: bool = False

    @property
    def shaping(self) -> dict[str, Any]:
        """What shapes the clips and the frames beside them, as JSON has it."""
        return self.model_dump(mode="json", exclude=None if self.wide else {"wide"})


@dataclass(frozen=True)
class Geometry:
    """Where the source's picture goes in the frame of a clip.

    Attributes:
        source: what is taken of the coded picture, in its pixels.
        scaled: (width, height) it is scaled to, before it is turned upright.
        box: where it ends up in the clip's frame.
    """

    source: ContentBox
    scaled: tuple[int, int]
    box: ContentBox


def geometry(probe: Probe, fit: Literal["pad", "crop", "stretch"]) -> Geometry:
    """Fit a source's picture into the frame of a clip; all sizes and places are even."""
    turned = probe.rotation_deg in (90, 270)
    picture = probe.picture
    shown_width = float(picture.width * probe.pixel_aspect)
    shown_height = float(picture.height)
    if turned:
        shown_width, shown_height = shown_height, shown_width
    width, height = WIDTH_PX, HEIGHT_PX
    if fit == "pad":
        scale = min(WIDTH_PX / shown_width, HEIGHT_PX / shown_height)
        width = min(WIDTH_PX, _even(shown_width * scale))
        height = min(HEIGHT_PX, _even(shown_height * scale))
    elif fit == "crop":
        picture = _centre_crop(picture, shown_width / shown_height, turned)
    box = ContentBox((WIDTH_PX - width) // 4 * 2, (HEIGHT_PX - height) // 4 * 2, width, height)
    return Geometry(picture, (height, width) if turned else (width, height), box)


def wide_size(probe: Probe, fit: Literal["pad", "crop", "stretch"]) -> tuple[int, int]:
    """(width, height) that a wide frame is scaled to, before it is turned upright.

    It shows what the clip shows, in its own shape: no padding, square pixels, nothing enlarged.
    """
    _, _, width, height = geometry(probe, fit).source
    shown_width = float(width * probe.pixel_aspect)
    scale = min(width / shown_width, WIDE_PX / shown_width, WIDE_PX / height, 1.0)
    return min(WIDE_PX, _even(shown_width * scale)), min(WIDE_PX, _even(height * scale))


def _centre_crop(picture: ContentBox, aspect: float, turned: bool) -> ContentBox:
    """The middle of the coded picture that has the aspect of a clip when shown."""
    x, y, width, height = picture
    keep = WIDTH_PX / HEIGHT_PX / aspect
    across = keep < 1  # the shown picture is too wide
    share = keep if across else 1 / keep
    if across != turned:
        kept = min(width, _even(width * share))
        return ContentBox(x + (width - kept) // 4 * 2, y, kept, height)
    kept = min(height, _even(height * share))
    return ContentBox(x, y + (height - kept) // 4 * 2, width, kept)


def _even(size: float) -> int:
    return max(2, round(size / 2) * 2)
