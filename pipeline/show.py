"""One clip: where it is from, its scores, why it was kept or dropped, and what it looks like."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.build import CONFIG_NAME, read_config
from pipeline.curate import KEPT
from shards.catalog import read_clips
from shards.codec import CodecError
from shards.errors import UserError
from shards.lookup import Found, look_up
from shards.manifest import read_version
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
        why: the rule that dropped it, with its predicate; None if it was kept, or the rule is none of
            those that are asked.
        sheet: a PNG of frames spread over the clip, in reading order.
    """

    found: Found
    why: str | None
    sheet: bytes


def show(store: Store, key: str, version: int | None = None) -> Shown:
    """Gather what is known of a clip, kept or dropped.

    Args:
        version: as it was decided for that version; by default as it was decided last.

    Raises:
        UserError: nothing was curated yet, there is no such clip or version, or its bytes are damaged.
    """
    if version is None and read_clips(store) is None:
        raise UserError(f"dataset {store.url}: nothing was curated yet; `genieset build` does")
    (found,) = look_up(store, read_views(store, version), [key])
    try:
        sheet = contact_sheet(found.read(store).mp4)
    except CodecError as error:
        raise UserError(f"dataset {store.url}: {error}") from None
    rules = _rules(store, version)
    return Shown(found, _why(rules, found.clip["decision"]), sheet)


def _rules(store: Store, version: int | None) -> Mapping[str, str]:
    """Those of a version's own config, else of the config that the dataset was last worked on with."""
    if version is not None:
        return dict(read_version(store, version).recipe["curate"]["rules"])
    return read_config(store).curate.rules if store.exists(CONFIG_NAME) else {}


def _why(rules: Mapping[str, str], decision: str) -> str | None:
    if decision == KEPT:
        return None
    rule = decision.removeprefix("dropped:")
    return f"{rule}: {rules[rule]}" if rule in rules else None


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
