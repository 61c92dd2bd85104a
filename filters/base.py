"""The scorer contract: a clip's frames in, named floats out (and bytes, for what compares clips)."""

from __future__ import annotations

import importlib
import io
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt

import filters
from shards.codec import Frames
from shards.errors import UserError
from shards.records import ContentBox
from shards.wide import WideFrame

_AT = "@"

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

    A scorer may take an argument, a place where a model lies, say; then `__init__` takes it, and the
    scorer is called `<name>@<argument>`. The last part of the argument says which it is, wherever it
    lies, and its scores are stored under it: those of `quality@/models/1a2b` in `scores/quality-1a2b`.

    Attributes:
        name: the file's name, and the folder its scores are stored under.
        argument_is: what the argument is, for messages; None if it takes none.
        argument: the one that this scorer was made with.
        version: raised whenever the same clip would get another score.
        view: what it looks at: `clip`, all frames at the clip's own size, or `wide`, about four of them
            with up to 640 pixels a side, which are only made where a scorer asks for them.
        ranges: each score's name -> (lowest, highest) value.
        blobs: each fingerprint's name -> its length in bytes. It is stored beside the scores, for
            stages that compare clips; no rule sees it, nor does the catalog.
    """

    name: ClassVar[str]
    argument_is: ClassVar[str | None] = None
    argument: str | None = None
    version: ClassVar[int]
    view: ClassVar[Literal["clip", "wide"]] = "clip"
    ranges: ClassVar[Mapping[str, tuple[float, float]]]
    blobs: ClassVar[Mapping[str, int]] = {}

    def to(self, device: str) -> None:  # noqa: B027 - most have nothing to move
        """Work on this device from now on, if there is a model that can: `cpu`, `cuda`, `cuda:1`...

        Raises:
            UserError: it is not on this machine.
        """

    @property
    def called(self) -> str:
        """The name by which it was asked for: `name`, or `name@argument`."""
        return self.name if self.argument is None else f"{self.name}{_AT}{self.argument}"

    @abstractmethod
    def measure(self, clip: ClipFrames) -> Mapping[str, float | bytes]:
        """The scores named in `ranges`, each finite and within its range, and the bytes of `blobs`."""

    def measure_many(self, clips: Sequence[ClipFrames]) -> Sequence[Mapping[str, float | bytes]]:
        """What `measure` says of each clip; for a model that looks at several at once faster."""
        return [self.measure(clip) for clip in clips]


@cache
def _scorer_classes() -> dict[str, type[Scorer]]:
    for module_info in pkgutil.iter_modules(filters.__path__):
        importlib.import_module(f"filters.{module_info.name}")
    return {
        scorer.name: scorer for scorer in Scorer.__subclasses__() if scorer.__module__.startswith("filters.")
    }


def scorer_names() -> list[str]:
    """The names of all scorers in `filters/` that take no argument."""
    return sorted(name for name, scorer in _scorer_classes().items() if scorer.argument_is is None)


def wide_scorers(names: Iterable[str]) -> list[str]:
    """Those of these scorers that look at wide frames.

    Raises:
        UserError: there is no scorer of one of the names.
    """
    return [name for name in names if _scorer_class(name)[0].view == "wide"]


def scorer_folder(name: str) -> str:
    """`scores/<name>-<version>`: where the scores of a scorer as it is now are stored.

    For one with an argument, the last part of that stands in place of the version.

    Raises:
        UserError: there is no scorer of this name.
    """
    scorer, argument = _scorer_class(name)
    which = scorer.version if argument is None else argument.rstrip("/").rpartition("/")[2]
    return f"scores/{scorer.name}-{which}"


def score_names(name: str) -> tuple[str, ...]:
    """The scores that a scorer measures, in the order it declares them.

    Raises:
        UserError: there is no scorer of this name.
    """
    return tuple(_scorer_class(name)[0].ranges)


@cache
def load_scorers(names: tuple[str, ...], device: str = "cpu") -> tuple[Scorer, ...]:
    """The scorers of these names, made once a process and device.

    Raises:
        UserError: there is no scorer of one of the names, or no such device.
    """
    found = [_scorer_class(name) for name in names]
    scorers = tuple(scorer() if argument is None else _with(scorer, argument) for scorer, argument in found)
    for scorer in scorers:
        scorer.to(device)
    return scorers


def measure(scorers: Iterable[Scorer], clip: ClipFrames) -> dict[str, dict[str, float | bytes]]:
    """What each scorer is called -> its rounded scores of a clip, and its blobs.

    Raises:
        ValueError: a scorer returned other scores or blobs than it declares, one out of its range, or
            one of another length.
    """
    return measure_many(scorers, [clip])[0]


def measure_many(
    scorers: Iterable[Scorer], clips: Sequence[ClipFrames]
) -> list[dict[str, dict[str, float | bytes]]]:
    """The same of several clips, in their order."""
    measured: list[dict[str, dict[str, float | bytes]]] = [{} for _ in clips]
    for scorer in scorers:
        for of_clip, values in zip(measured, scorer.measure_many(clips), strict=True):
            if values.keys() != scorer.ranges.keys() | scorer.blobs.keys():
                declared = sorted([*scorer.ranges, *scorer.blobs])
                raise ValueError(f"scorer {scorer.name} returned {sorted(values)}, declares {declared}")
            of_clip[scorer.called] = {name: _checked(scorer, name, value) for name, value in values.items()}
    return measured


def _checked(scorer: Scorer, name: str, value: float | bytes) -> float | bytes:
    if isinstance(value, bytes) != (name in scorer.blobs):
        raise ValueError(f"scorer {scorer.name}: {name} is {type(value).__name__}, not as declared")
    if isinstance(value, bytes):
        if len(value) != scorer.blobs[name]:
            raise ValueError(
                f"scorer {scorer.name}: {name} has {len(value)} bytes, declares {scorer.blobs[name]}"
            )
        return value
    value = round(value, SCORE_DECIMALS)
    low, high = scorer.ranges[name]
    if not low <= value <= high:
        raise ValueError(f"scorer {scorer.name}: {name} is {value}, outside {low} to {high}")
    return value


def _scorer_class(called: str) -> tuple[type[Scorer], str | None]:
    """The class of a scorer, and the argument that it is to be made with."""
    name, at, argument = called.partition(_AT)
    classes = _scorer_classes()
    if name not in classes:
        raise UserError(f"scorers: there is no scorer {name!r}; there are {', '.join(scorer_names())}")
    scorer = classes[name]
    if scorer.argument_is is not None and not argument:
        raise UserError(f"scorers: {name} needs {scorer.argument_is}; call it {name}{_AT}...")
    if scorer.argument_is is None and at:
        raise UserError(f"scorers: {name} takes nothing after {_AT}; call it {name}")
    return scorer, argument or None


def _with(scorer: type[Scorer], argument: str) -> Scorer:
    return cast("Callable[[str], Scorer]", scorer)(argument)
