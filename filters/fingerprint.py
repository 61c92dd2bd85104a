"""A fingerprint of how the picture changes, by which the same footage is found again.

Re-encoded, rescaled, cut at another instant, with bars beside the picture or a border around it, the
same footage has nearly the same fingerprint; `pipeline.duplicates` compares them.

After Oostveen, Kalker and Haitsma, "Feature extraction and a database strategy for video
fingerprinting" (2002): the bits of a frame are signs of differences over time, so what stands still
(a sky, a score line, a logo) says nothing, and two plays of one level differ from their first other
move on. The features are the low frequencies of a DCT, as in pHash and PDQ, instead of block means:
a change of scale by a few percent leaves them nearly as they are.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from filters.base import ClipFrames, Scorer

FINGERPRINT_FPS = 10
FRAMES = 160
LAG_FRAMES = 10
"""A hash compares a frame with the one a second later."""

WHOLE_SLOTS = FRAMES - LAG_FRAMES
"""Hashes of the whole picture: one for every frame that has another one a second later."""

INNER_STEP_FRAMES = 3
INNER_SLOTS = WHOLE_SLOTS // INNER_STEP_FRAMES
"""Hashes of the picture without a border, at every third frame."""

SLOTS = WHOLE_SLOTS + INNER_SLOTS

Hashes = npt.NDArray[np.uint64]
"""Fingerprints, `[..., SLOTS]`: first the whole picture, then the inner one. 0 where nothing changed."""

_INNER_SCALE = 0.9
_FREQUENCIES = 8

# The middle of a picture, half as wide as it is high, is there whatever stands at its sides: it is
# part of a picture of 9:16 and of 21:9.
_WIDTH_OF_HEIGHT = 0.5

# In gray values, the mean over the frequencies. Re-encoding changes a still by less.
_MIN_CHANGE = 0.3

# Cosines in whole numbers of seven bits: sums of them are exact in floats, whatever their order, so
# that every machine computes the same bits.
_UNIT = 127

_MARK = np.uint64(1 << 63)


class Fingerprint(Scorer):
    """64 bits for each frame and for every third frame without a border; no score.

    A hash's lower 63 bits are the signs of the change within a second of the 63 lowest frequencies
    but the mean, of the middle of the picture; its highest bit is 1. It is 0 where the picture did not
    change: a still gives no evidence. Costs about 4 ms a clip.

    A clip at another rate is looked at ten times a second; of a longer one, the first 16 s count.
    """

    name = "fingerprint"
    version = 1
    ranges = {}
    blobs = {"fingerprint": SLOTS * 8}

    def measure(self, clip: ClipFrames) -> dict[str, bytes]:
        """`fingerprint`: `SLOTS` little-endian integers of 8 bytes."""
        hashes = np.zeros(SLOTS, np.uint64)
        luma = clip.luma[np.floor(np.arange(FRAMES) * clip.fps / FINGERPRINT_FPS).astype(int)[: _there(clip)]]
        if len(luma) > LAG_FRAMES:
            whole = _hashes(luma, 1.0)
            inner = _hashes(luma, _INNER_SCALE)[::INNER_STEP_FRAMES]
            hashes[: len(whole)] = whole
            hashes[WHOLE_SLOTS : WHOLE_SLOTS + len(inner)] = inner
        return {"fingerprint": hashes.astype("<u8").tobytes()}


def unpack(fingerprints: list[bytes]) -> Hashes:
    """`[len(fingerprints), SLOTS]`."""
    return np.frombuffer(b"".join(fingerprints), "<u8").astype(np.uint64).reshape(-1, SLOTS)


def _there(clip: ClipFrames) -> int:
    """How many frames a clip has at ten a second, at most `FRAMES`."""
    return min(FRAMES, -(-int(len(clip.frames) * FINGERPRINT_FPS * 1000) // int(clip.fps * 1000)))


def _hashes(luma: npt.NDArray[np.uint8], scale: float) -> Hashes:
    """`[T - LAG_FRAMES]` of the middle of the picture, so much smaller; luma is `[T, h, w]`."""
    _, height, width = luma.shape
    across, columns = _cosines(width, min(float(width), _WIDTH_OF_HEIGHT * height) * scale)
    down, rows = _cosines(height, height * scale)
    middle = luma[:, :, columns].astype(np.float32)
    amplitudes = down @ (middle[:, rows] @ across.T).astype(np.float64)
    change = (amplitudes[LAG_FRAMES:] - amplitudes[:-LAG_FRAMES]).reshape(len(luma) - LAG_FRAMES, -1)[:, 1:]
    signs = np.ones((len(change), 64), bool)
    signs[:, :63] = change > 0
    hashes = np.packbits(signs, axis=1, bitorder="little").view("<u8")[:, 0].astype(np.uint64)
    least = _MIN_CHANGE * change.shape[1] * float(across[0].sum()) * float(down[0].sum())
    hashes[np.abs(change).sum(axis=1) < least] = 0
    return hashes


@cache
def _cosines(size_px: int, part_px: float) -> tuple[npt.NDArray[np.float32], slice]:
    """The cosines of a DCT over the middle part of a line, and which pixels it touches.

    `[_FREQUENCIES, pixels]`, whole numbers. A pixel that lies in the part by a share counts by that share.
    """
    low, high = (size_px - part_px) / 2, (size_px + part_px) / 2
    edges = np.arange(size_px + 1, dtype=np.float64)
    share = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, 1)
    place = np.clip((edges[:-1] + 0.5 - low) / part_px, 0, 1)
    waves = np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * place)
    touched = slice(int(low), int(np.ceil(high)))
    return np.round(_UNIT * waves * share)[:, touched].astype(np.float32), touched
