"""Whether a person's face is in the picture, and whether it stays in its place."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from filters.base import ClipFrames, Scorer
from filters.inference import Network

_MIN_SURE = 0.5
_STRIDE_PX = 4
# At 480 the face of a webcam as wide as an eighth of the picture is still found, at 400 it is not.
_LONGEST_PX = 480
_STEP_PX = 32


class _Box(NamedTuple):
    """A face; 0 to 1 is the whole picture."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)


class Faces(Scorer):
    """The largest face in each wide frame: how large, how often, how steady.

    A webcam in a corner is a face in every frame that stays in its place; a film's faces come and go.
    Faces are found by CenterFace (Xu et al. 2019, arXiv 1911.03599; MIT), a small network without
    anchors, over the wide frames, made 480 pixels large. On the samples: no face in 312 frames of games,
    menus, slides, streets and hands; one in each of 24 of a talking head (steady 0.49, area 0.14) and of
    play with a webcam (0.92, 0.01). Of 20 webcams laid over play all are found down to 15 % of the width,
    18 at 12 %. Faces in profile and in the dark were not tried. Costs 105 ms a clip.
    """

    name = "faces"
    version = 1
    view = "wide"
    ranges = {"face_area": (0.0, 1.0), "face_share": (0.0, 1.0), "face_steady": (0.0, 1.0)}

    def __init__(self) -> None:
        self._network = Network("centerface")

    def measure(self, clip: ClipFrames) -> dict[str, float]:
        """0 to 1 each.

        `face_area`: share of the picture that the largest face takes up where it is largest;
        `face_share`: of the wide frames, those with a face; `face_steady`: overlap (intersection over
        union) of the face with that of the wide frame before, the mean; 0 where there are no two.
        """
        faces = [self._largest(picture) for picture in clip.wide_pictures]
        pairs = [(one, after) for one, after in pairwise(faces) if one and after]
        return {
            "face_area": max(face.area if face else 0.0 for face in faces),
            "face_share": sum(face is not None for face in faces) / len(faces),
            "face_steady": float(np.mean([_overlap(*pair) for pair in pairs])) if pairs else 0.0,
        }

    def _largest(self, picture: npt.NDArray[np.uint8]) -> _Box | None:
        from PIL import Image
        from scipy import ndimage

        scale = min(1.0, _LONGEST_PX / max(picture.shape))
        height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
        picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
        # It takes sizes that are multiples of 32; the rest is black.
        room = np.zeros((-(-height // _STEP_PX) * _STEP_PX, -(-width // _STEP_PX) * _STEP_PX, 3), np.float32)
        room[:height, :width] = picture
        sure, size, offset = (maps[0] for maps in self._network(room.transpose(2, 0, 1)[None]))
        peak = (sure[0] >= _MIN_SURE) & (sure[0] == ndimage.maximum_filter(sure[0], 3))
        boxes = []
        for row, column in np.argwhere(peak):
            high, wide = (_STRIDE_PX * float(np.exp(size[axis, row, column])) for axis in (0, 1))
            y = _STRIDE_PX * (row + float(offset[0, row, column]) + 0.5)
            x = _STRIDE_PX * (column + float(offset[1, row, column]) + 0.5)
            left, right = (max(0.0, min(1.0, (x + half) / width)) for half in (-wide / 2, wide / 2))
            top, bottom = (max(0.0, min(1.0, (y + half) / height)) for half in (-high / 2, high / 2))
            boxes.append(_Box(left, top, right, bottom))
        return max(boxes, key=lambda box: box.area, default=None)


def _overlap(one: _Box, other: _Box) -> float:
    common = _Box(
        max(one.left, other.left),
        max(one.top, other.top),
        min(one.right, other.right),
        min(one.bottom, other.bottom),
    ).area
    together = one.area + other.area - common
    return common / together if together else 0.0
