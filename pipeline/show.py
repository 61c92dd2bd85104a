"""One clip: where it is from, its scores, why it was kept or dropped, and what it looks like."""

from __future__ import annotations

import io
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image

from pipeline.curate import SETTINGS_KEY
from shards.catalog import CURATED, VIDEOS, read_clips
from shards.commits import read_commits
from shards.errors import UserError
from shards.index import read_clip, read_index
from shards.keys import parse_key
from shards.records import CLIP_SCHEMA
from shards.store import Store

_SHEET_COLUMNS = 4
_SHEET_FRAMES = 16
_SHEET_GAP_PX = 4


@dataclass(frozen=True)
class Shown:
    """What is known of a clip.

    Attributes:
        video: its row of the catalog of videos.
        clip: its row of the catalog of clips, without the scores.
        scores: score -> value.
        sheet: a PNG of frames spread over the clip, in reading order.
    """

    video: dict[str, Any]
    clip: dict[str, Any]
    scores: dict[str, float]
    sheet: bytes


def show(store: Store, key: str) -> Shown:
    """Gather what is known of a clip, kept or dropped.

    Raises:
        UserError: nothing was curated yet, or there is no such clip.
    """
    clips = read_clips(store)
    if clips is None:
        raise UserError(f"dataset {store.url}: nothing was curated yet; `genieset build` does")
    row = clips.filter(pc.equal(clips["key"], key)).to_pylist()
    if not row:
        near = get_close_matches(key, clips["key"].to_pylist(), n=1)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else f"there are {len(clips)} clips, the first is {clips['key'][0] if len(clips) else 'none'}"
        )
        raise UserError(f"dataset {store.url}: no clip {key!r}; {hint}")
    video_id, _ = parse_key(key)
    videos = store.read_table(CURATED[VIDEOS])
    commits = read_commits(store, clips.schema.metadata[SETTINGS_KEY].decode())
    pack = commits.filter(pc.equal(commits["video_id"], video_id))["pack"][0].as_py()
    if not store.exists(pack):
        raise UserError(f"dataset {store.url}: {pack} is gone; `genieset build` makes it again")
    placed = next(clip for clip in read_index(store, pack) if clip.clip.key == key)
    fixed = {name: value for name, value in row[0].items() if name in CLIP_SCHEMA.names}
    return Shown(
        video=videos.filter(pc.equal(videos["video_id"], video_id)).to_pylist()[0],
        clip=fixed,
        scores={name: value for name, value in row[0].items() if name not in CLIP_SCHEMA.names},
        sheet=contact_sheet(read_clip(store, pack, placed).mp4),
    )


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
