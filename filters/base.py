"""The scorer contract: a clip's frames in, named floats out."""

from __future__ import annotations

import importlib
import io
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

import filters
from shards.codec import Frames
from shards.errors import UserError
from shards.records import ContentBox
from shards.wide import WideFrame

SCORE_DECIMALS = 6
"""Scores are rounded before anything is decided, so that no rule hangs on the last bit of a float."""


class ClipFrames:
    """The frames of one clip as it is stored, with what several scorers need computed once.

    Scorers see the decoded clip, not the frames it was encoded from: measured while it is cut or
    years later from its pack, a clip gets the same scores.

    Args:
        frames: I420 pictures, `[T, H * 3 // 2, W]` uint8.
        content_box: where the source's picture lies in the frame, in pixels.
        fps: frames a second.
        wide: larger ones of the frames, in their order; only a scorer of view `wide` may count on them.
    """

    def __init__(
        self, frames: Frames, content_box: ContentBox, fps: float, wide: Sequence[WideFrame] = ()
    ) -> None:
        self.frames = frames
        self.content_box = content_box
        self.fps = fps
        self.wide = wide

    @cached_property
    def luma(self) -> npt.NDArray[np.uint8]:
        """The luma of the source's picture without its padding, `[T, h, w]` uint8, 16 to 235."""
        x, y, width, height = self.content_box
        return self.frames[:, y : y + height, x : x + width]

    @cached_property
    def luma_steps(self) -> npt.NDArray[np.uint8]:
        """Absolute difference of luma to the frame before, `[T - 1, h, w]` uint8."""
        before, after = self.luma[:-1], self.luma[1:]
        # Unsigned bytes: the difference of the larger and the smaller never wraps.
        return np.maximum(before, after) - np.minimum(before, after)

    @cached_property
    def luma_change(self) -> npt.NDArray[np.float64]:
        """Mean absolute difference of luma to the frame before, `[T - 1]`, in 0 to 1."""
        # A sum of whole numbers is exact, and faster than numpy's mean.
        total = self.luma_steps.sum(axis=(1, 2), dtype=np.uint32)
        mean: npt.NDArray[np.float64] = total / self.luma[0].size
        return mean / 255.0

    @cached_property
    def wide_pictures(self) -> npt.NDArray[np.uint8]:
        """The wide frames as RGB, `[n, H, W, 3]` uint8, without padding; which they are, `wide` tells.

        Raises:
            ValueError: the clip came without.
        """
        from PIL import Image

        if not self.wide:
            raise ValueError("a clip without wide frames was given to a scorer that looks at them")
        pictures = [Image.open(io.BytesIO(wide.jpeg)).convert("RGB") for wide in self.wide]
        return np.stack([np.asarray(picture) for picture in pictures])


class Scorer(ABC):
    """Measures one thing about a clip.

    A scorer is one file in `filters/`, with one subclass whose `name` is the file's name. It is
    found by that name; nothing else needs to know of it. Heavy state (a model, say) is made in
    `__init__`, which runs once on each worker, and heavy packages are imported there.

    Attributes:
        name: the file's name, and the folder its scores are stored under.
        version: raised whenever the same clip would get another score.
        view: what it looks at: `clip`, all frames at the clip's own size, or `wide`, about four of them
            with up to 640 pixels a side, which are only made where a scorer asks for them.
        ranges: each score's name -> (lowest, highest) value.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    view: ClassVar[Literal["clip", "wide"]] = "clip"
    ranges: ClassVar[Mapping[str, tuple[float, float]]]

    @abstractmethod
    def measure(self, clip: ClipFrames) -> dict[str, float]:
        """The scores named in `ranges`, each finite and within its range."""


@cache
def _scorer_classes() -> dict[str, type[Scorer]]:
    for module_info in pkgutil.iter_modules(filters.__path__):
        importlib.import_module(f"filters.{module_info.name}")
    return {
        scorer.name: scorer for scorer in Scorer.__subclasses__() if scorer.__module__.startswith("filters.")
    }


def scorer_names() -> list[str]:
    """The names of all scorers in `filters/`."""
    return sorted(_scorer_classes())


def wide_scorers(names: Iterable[str]) -> list[str]:
    """Those of these scorers that look at wide frames.

    Raises:
        UserError: there is no scorer of one of the names.
    """
    return [name for name in names if _scorer_class(name).view == "wide"]


def scorer_folder(name: str) -> str:
    """`scores/<name>-<version>`: where the scores of a scorer as it is now are stored.

    Raises:
        UserError: there is no scorer of this name.
    """
    return f"scores/{name}-{_scorer_class(name).version}"


def score_names(name: str) -> tuple[str, ...]:
    """The scores that a scorer measures, in the order it declares them.

    Raises:
        UserError: there is no scorer of this name.
    """
    return tuple(_scorer_class(name).ranges)


@cache
def load_scorers(names: tuple[str, ...]) -> tuple[Scorer, ...]:
    """The scorers of these names, made once a process.

    Raises:
        UserError: there is no scorer of one of the names.
    """
    return tuple(_scorer_class(name)() for name in names)


def measure(scorers: Iterable[Scorer], clip: ClipFrames) -> dict[str, dict[str, float]]:
    """Scorer name -> its rounded scores of a clip.

    Raises:
        ValueError: a scorer returned other scores than it declares, or one out of its range.
    """
    measured = {}
    for scorer in scorers:
        scores = {name: round(value, SCORE_DECIMALS) for name, value in scorer.measure(clip).items()}
        if scores.keys() != scorer.ranges.keys():
            raise ValueError(
                f"scorer {scorer.name} returned {sorted(scores)}, declares {sorted(scorer.ranges)}"
            )
        for name, value in scores.items():
            low, high = scorer.ranges[name]
            if not low <= value <= high:
                raise ValueError(f"scorer {scorer.name}: {name} is {value}, outside {low} to {high}")
        measured[scorer.name] = scores
    return measured


def _scorer_class(name: str) -> type[Scorer]:
    classes = _scorer_classes()
    if name not in classes:
        raise UserError(f"scorers: there is no scorer {name!r}; there are {', '.join(sorted(classes))}")
    return classes[name]
