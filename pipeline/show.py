"""One clip: where it is from, its scores, why it was kept or dropped, and what it looks like."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.build import CONFIG_NAME, read_config
from pipeline.curate import KEPT
from shards.catalog import read_clips
from shards.codec import CodecError
from shards.errors import UserError
from shards.lookup import Found, look_up
from shards.query import read_views
from shards.store import Store

_SHEET_COLUMNS = 4
_SHEET_FRAMES = 16
_SHEET_GAP_PX = 4


@dataclass(frozen=True)
class Shown:
    """What is known of a clip.

    Attributes:
        found: its video, its row of the catalog, its scores and where it lies.
        why: the rule that dropped it, with its predicate; None if it was kept, or the rule is gone from
            the config that the dataset was last worked on with.
        sheet: a PNG of frames spread over the clip, in reading order.
    """

    found: Found
    why: str | None
    sheet: bytes


def show(store: Store, key: str) -> Shown:
    """Gather what is known of a clip, kept or dropped.

    Raises:
        UserError: nothing was curated yet, there is no such clip, or its bytes are damaged.
    """
    if read_clips(store) is None:
        raise UserError(f"dataset {store.url}: nothing was curated yet; `genieset build` does")
    (found,) = look_up(store, read_views(store), [key])
    try:
        sheet = contact_sheet(found.read(store).mp4)
    except CodecError as error:
        raise UserError(f"dataset {store.url}: {error}") from None
    return Shown(found, _why(store, found.clip["decision"]), sheet)


def _why(store: Store, decision: str) -> str | None:
    if decision == KEPT or not store.exists(CONFIG_NAME):
        return None
    rule = decision.removeprefix("dropped:")
    predicate = read_config(store).curate.rules.get(rule)
    return None if predicate is None else f"{rule}: {predicate}"


def contact_sheet(mp4: bytes) -> bytes:
    """A PNG of 16 frames spread over a clip, in reading order."""
    # Not at import time: decord loads an ffmpeg of its own.
    import decord

    reader = decord.VideoReader(io.BytesIO(mp4), num_threads=1)
    chosen = np.linspace(0, len(reader) - 1, min(_SHEET_FRAMES, len(reader))).round().astype(int)
    frames = reader.get_batch(chosen.tolist()).asnumpy()
    _, height, width, _ = frames.shape
    rows = -(-len(frames) // _SHEET_COLUMNS)
    across, down = width + _SHEET_GAP_PX, height + _SHEET_GAP_PX
    sheet = Image.new("RGB", (_SHEET_COLUMNS * across - _SHEET_GAP_PX, rows * down - _SHEET_GAP_PX), "white")
    for number, frame in enumerate(frames):
        row, column = divmod(number, _SHEET_COLUMNS)
        sheet.paste(Image.fromarray(frame), (column * across, row * down))
    png = io.BytesIO()
    sheet.save(png, "PNG")
    return png.getvalue()
