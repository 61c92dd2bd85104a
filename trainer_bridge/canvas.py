"""The array that a batch's pictures are copied into; all of them have one size and mean the same colours."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame

from shards.codec import Frames, copy_planes, planes_shape, split_planes
from trainer_bridge.colour import CLIP_COLOUR, colour_of


class OddOneOut(Exception):  # noqa: N818 - what is wrong is for whoever knows the clip to say
    """A picture that cannot be in one batch with those before it."""


class Canvas:
    """Pictures of windows; it is made when the first one says how large they are.

    Attributes:
        planes: I420 pictures `[B, T, H * 3 // 2, W]` uint8; H and W are 0 before the first.
        colour: what the planes' numbers mean.
    """

    def __init__(self, windows: int, frames: int) -> None:
        self.planes: Frames = np.empty((windows, frames, 0, 0), np.uint8)
        self.colour = CLIP_COLOUR
        self._luma, self._chroma = self.planes, self.planes

    def put(self, window: int, frame: int, picture: VideoFrame) -> None:
        """Copy a decoded picture to its place.

        Raises:
            CodecError: it is no I420 picture, or not of the size of those before it in its run.
            OddOneOut: pictures of other windows have another size or other colours.
        """
        if not frame or not self.planes.size:
            self._check(picture)
        copy_planes(picture, self._luma[window, frame], self._chroma[window, frame])

    def pad(self, window: int, frames: int) -> None:
        """Repeat the last of a window's frames where it has too few."""
        self.planes[window, frames:] = self.planes[window, frames - 1]

    def _check(self, picture: VideoFrame) -> None:
        shape = planes_shape(picture)
        try:
            colour = colour_of(picture)
        except ValueError as error:
            raise OddOneOut(str(error)) from None
        if not self.planes.size:
            self.planes = np.empty((*self.planes.shape[:2], *shape), np.uint8)
            self.colour = colour
            self._luma, self._chroma = split_planes(self.planes)
        (rows, width), (other_rows, other_width) = shape, self.planes.shape[2:]
        if (rows, width) != (other_rows, other_width):
            raise OddOneOut(
                f"has frames of {width}x{rows * 2 // 3}, others of its batch have "
                f"{other_width}x{other_rows * 2 // 3}; a batch has one size: stream them apart, or select one"
            )
        if colour != self.colour:
            raise OddOneOut(f"is in {colour}, others of its batch are in {self.colour}; stream them apart")
