"""What streams are measured on: a published dataset of 2,000 clips, some dozens of them distinct.

The distinct ones are cut from the gameplay that is shipped. Which files the clips lie in is of no account
to a decoder, so the same few are repeated under other keys until the set is as large as a page cache holds
with ease and no contender is measured on its disk.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from io import BufferedRandom
from itertools import islice
from pathlib import Path

import numpy as np

from bench.sources import CACHE, ROOT
from pipeline.cut import cut
from pipeline.frame import FrameSettings
from pipeline.probe import probe
from shards.codec import CLIP_FPS, CODEC_VERSION, EncodedClip, encode_clip
from shards.index import ClipTarWriter, index_name
from shards.keys import clip_key
from shards.manifest import SCHEMA, ShardEntry, Version, create_version
from shards.records import INDEX_SCHEMA, Clip, ContentBox
from shards.store import Store

CLIPS = 2000
HOME = CACHE / "stream"
"""Where the sample lies, and what is made of datasets for loaders that have formats of their own."""

FOOTAGE = (ROOT / "examples" / "gameplay", ROOT / "bench" / "gameplay")
_CLIPS_A_VIDEO = 3
_SHARDS = 8


def sample_dataset(clips: int = CLIPS, footage: tuple[Path, ...] = FOOTAGE) -> Path:
    """The dataset's folder; it is made when it is first asked for, in about a minute.

    Args:
        clips: how many, >= the number of distinct ones.
        footage: folders of videos.
    """
    # Another release may cut, encode or index otherwise.
    made_by = f"{CODEC_VERSION} {SCHEMA} {INDEX_SCHEMA} {clips} {[path.name for path in _videos(footage)]}"
    home = HOME / f"sample-{hashlib.sha256(made_by.encode()).hexdigest()[:12]}"
    if not home.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=HOME, prefix="new-") as folder:
            publish_repeated(Path(folder) / "set", list(_distinct(footage)), clips, _SHARDS)
            (Path(folder) / "set").rename(home)
    return home


def publish_repeated(
    folder: Path, distinct: list[tuple[str, int, EncodedClip]], clips: int, shards: int
) -> Version:
    """Publish a version of split `train` in which a few clips come again and again.

    Args:
        distinct: video, first frame and encoding of each clip.
        clips: how many there are to be in all shards together; dealt out as publishing does, so that
            neighbours are strangers.
    """
    store, entries = Store(folder), []
    order = np.random.default_rng(0).permutation(clips)
    for number, places in enumerate(np.array_split(order, shards)):
        name = f"shards/train-{number:06d}.tar"
        with store.stage() as staged:
            with ClipTarWriter(staged.file) as tar:
                for place in places.tolist():
                    again, which = divmod(place, len(distinct))
                    video, first_frame, encoded = distinct[which]
                    tar.append(_clip(f"{video}-{again:04d}", first_frame, len(encoded.packet_sizes)), encoded)
            sha256, size = _digest(staged.file)
            staged.publish(name)
        store.put_table(index_name(name), tar.index())
        index_sha256 = hashlib.sha256(store.read(index_name(name))).hexdigest()
        lengths = Counter(placed.clip.n_frames for placed in tar.placed)
        entries.append(ShardEntry(name, "train", len(places), size, sha256, index_sha256, dict(lengths)))
    version = Version(1, None, {"clips": clips, "distinct": len(distinct)}, tuple(entries))
    create_version(store, version)
    return version


def _distinct(footage: tuple[Path, ...]) -> Iterator[tuple[str, int, EncodedClip]]:
    settings = FrameSettings()
    for path in _videos(footage):
        video = path.stem.replace("_", "-")
        for piece in islice(cut(path, probe(path), settings), _CLIPS_A_VIDEO):
            yield video, piece.first_frame, encode_clip(piece.frames)


def _videos(footage: tuple[Path, ...]) -> list[Path]:
    return sorted(path for folder in footage for path in folder.glob("*.mp4"))


def _clip(video_id: str, first_frame: int, frames: int) -> Clip:
    box = ContentBox(0, 0, 160, 90)
    key = clip_key(video_id, first_frame)
    return Clip(key, video_id, first_frame / CLIP_FPS, frames, frames, CLIP_FPS, box)


def _digest(file: BufferedRandom) -> tuple[str, int]:
    file.flush()
    size = file.tell()
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest(), size
