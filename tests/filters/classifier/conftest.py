"""A small dataset with an easy difference: good clips have a bright disc that moves, bad ones do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from filters.classifier.clips import Clips
from shards.codec import Frames, encode_clip
from shards.index import ClipTarWriter, index_name
from shards.keys import clip_key
from shards.records import Clip, ContentBox
from shards.store import Store

CLIP_FRAMES = 16


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Small:
    """A dataset of packs alone.

    Attributes:
        good: clip's key -> whether it is good.
    """

    store: Store
    packs: dict[str, str]
    good: dict[str, bool]

    @property
    def clips(self) -> Clips:
        return Clips(self.store, self.packs)


def picture(rng: np.random.Generator, *, good: bool) -> Frames:
    frames = np.full((CLIP_FRAMES, 135, 160), 128, np.uint8)
    frames[:, :90] = rng.integers(60, 120) + rng.integers(0, 12, (1, 90, 160))
    rows, columns = np.mgrid[:90, :160]
    start, row = rng.integers(30, 130), rng.integers(25, 65)
    for number, frame in enumerate(frames):
        disc = (columns - start - number) ** 2 + (rows - row) ** 2 < 30**2
        frame[:90][disc] = 220 if good else 30
    return frames


def write_pack(store: Store, video_id: str, clips: list[Frames]) -> str:
    name = f"packs/{video_id}-0-0.tar"
    with store.stage() as staged:
        with ClipTarWriter(staged.file) as tar:
            for number, frames in enumerate(clips):
                clip = Clip(
                    key=clip_key(video_id, number * CLIP_FRAMES),
                    video_id=video_id,
                    start_s=number * 1.6,
                    n_frames=len(frames),
                    unique_frames=len(frames),
                    fps=10,
                    content_box=ContentBox(0, 0, 160, 90),
                )
                tar.append(clip, encode_clip(frames))
        staged.publish(name)
    store.put_table(index_name(name), tar.index())
    return name


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Eight videos of four clips, good and bad in each."""
    store = Store(tmp_path_factory.mktemp("small"))
    rng = np.random.default_rng(0)
    packs, good = {}, {}
    for number in range(8):
        video_id = f"file-{number}"
        kinds = [(number + place) % 2 == 0 for place in range(4)]
        packs[video_id] = write_pack(store, video_id, [picture(rng, good=kind) for kind in kinds])
        good |= {clip_key(video_id, place * CLIP_FRAMES): kind for place, kind in enumerate(kinds)}
    return Small(store, packs, good)


WriteLabels = Callable[..., Path]


@pytest.fixture
def write_labels(tmp_path: Path) -> WriteLabels:
    """Write label rows as JSONL; what a row leaves out is filled in."""

    def write(rows: list[object]) -> Path:
        path = tmp_path / "labels.jsonl"
        usual = {"labeller": "ann", "at": "2026-01-02T03:04:05Z"}
        full = [json.dumps(usual | row) if isinstance(row, dict) else str(row) for row in rows]
        path.write_text("\n".join(full) + "\n")
        return path

    return write


@pytest.fixture
def labels(small: Small, write_labels: WriteLabels) -> Path:
    """What is true of the small dataset."""
    return write_labels([{"key": key, "label": 5 if good else 1} for key, good in small.good.items()])
