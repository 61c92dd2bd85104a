"""How much of the picture is text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filters.base import ClipFrames, Scorer
from filters.inference import Network

# PaddleOCR's text detection, with its settings and the finer ones of RapidOCR: where a pixel is text,
# how sure a box has to be, and by how much it grows back, since it was taught on shrunken boxes.
_MIN_PIXEL = 0.3
_MIN_BOX = 0.5
_GROWTH = 1.6
_MIN_SIDE = 3
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)
# The network takes sizes that are multiples of 32; at 320 text of 8 pixels in 640 is still found.
_LONGEST_PX = 320
_STEP_PX = 32


class TextArea(Scorer):
    """Share of the picture covered by lines of text: menus, dialogue, captions, end cards.

    Boxes around lines, found by the detector of PP-OCRv4 (Baidu, Apache-2.0; Liao et al. 2020,
    arXiv 1911.08947), over the wide frames, made 320 pixels large. On the samples:
    0.15 to 0.25 on slides and menus, 0.15 on an end card, 0.03 for a line of status, 0 to 0.05 on play
    without text (jumper's walls are the worst). Costs 80 ms a clip.
    """

    name = "text_area"
    version = 1
    view = "wide"
    ranges = {"text_area": (0.0, 1.0)}

    def __init__(self) -> None:
        self._network = Network("pp_ocrv4_det")

    def measure(self, clip: ClipFrames) -> dict[str, float]:
        """`text_area`: 0 to 1, the mean over the wide frames."""
        return {"text_area": float(np.mean([self._share(picture) for picture in clip.wide_pictures]))}

    def _share(self, picture: npt.NDArray[np.uint8]) -> float:
        from PIL import Image
        from scipy import ndimage

        height, width, _ = picture.shape
        scale = min(1.0, _LONGEST_PX / max(height, width))
        size = tuple(max(_STEP_PX, round(side * scale / _STEP_PX) * _STEP_PX) for side in (width, height))
        small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR), np.float32)
        # It was taught on pictures whose channels stand the other way round.
        ready = (small[:, :, ::-1] / 255 - _MEAN) / _DEVIATION
        (found,) = self._network(np.ascontiguousarray(ready.transpose(2, 0, 1)[None], np.float32))
        sure = found[0, 0]
        regions, _ = ndimage.label(ndimage.binary_dilation(sure > _MIN_PIXEL, np.ones((2, 2))))
        covered = np.zeros(sure.shape, bool)
        for rows, columns in ndimage.find_objects(regions):
            high, wide = rows.stop - rows.start, columns.stop - columns.start
            if min(high, wide) < _MIN_SIDE or sure[rows, columns].mean() < _MIN_BOX:
                continue
            grow = round(_GROWTH * high * wide / (2 * (high + wide)))
            covered[
                max(0, rows.start - grow) : rows.stop + grow,
                max(0, columns.start - grow) : columns.stop + grow,
            ] = True
        return float(covered.mean())
