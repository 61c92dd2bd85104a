"""A dataset of clips that are all alike: as many as one likes, written faster than any could be cut.

The packs, their indexes, the scores and the commits are those of a real ingest; every mp4 is a real one,
of a flat picture, and is decoded by whoever wants to. Objects are written without a sync each, which is
what makes a million of them bearable.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline import candidates
from pipeline.build import CONFIG_NAME
from pipeline.config import BuildConfig
from pipeline.ingest import score_name
from shards.codec import CLIP_FPS, CLIP_FRAMES, EncodedClip, encode_clip
from shards.commits import COMMIT_SCHEMA, Commit, pack_name
from shards.index import ClipTarWriter, index_name
from shards.journal import SEGMENT_OBJECTS
from shards.keys import clip_key
from shards.records import CANDIDATE_SCHEMA, Clip, ContentBox, Video
from shards.store import Store, write_parquet

CLIPS_A_PACK = 16
CHANNELS = 997

_WIDTH_PX, _HEIGHT_PX = 160, 90
_FRAMES = 16  # of a real clip's 160
_DROPPED = 0.1


def config_of(dataset: str | Path, splits: Mapping[str, float], max_bytes: int) -> BuildConfig:
    """A config whose one rule drops a tenth of the clips."""
    return BuildConfig.model_validate(
        {
            "dataset": str(dataset),
            "sources": [{"kind": "web", "urls": ["https://example.org/"]}],
            "scorers": ["motion"],
            "curate": {"rules": {"static": f"motion >= {_DROPPED}"}, "splits": dict(splits)},
            "shards": {"max_bytes": max_bytes},
        }
    )


def write_packs(config: BuildConfig, numbers: Iterable[int], *, luma: int = 128) -> None:
    """Write the packs of these videos, `CLIPS_A_PACK` clips each, as if they had been ingested.

    Args:
        numbers: of videos; those that are there already are replaced.
        luma: of the picture, so that what is replaced may be other bytes.
    """
    store = Store(config.dataset)
    store.put(CONFIG_NAME, config.model_dump_json().encode())
    numbers = list(numbers)
    commits = [_write_pack(store, config, number, luma) for number in numbers]
    for first in range(0, len(commits), SEGMENT_OBJECTS):
        some = commits[first : first + SEGMENT_OBJECTS]
        rows = [
            vars(commit) | {"video": commit.video.as_row(), "video_id": commit.video.video_id}
            for commit in some
        ]
        # Newer ones are listed first: of two rows of a video the first counts.
        place = 10**8 - 1 - len(store.list("commits/segments"))
        table = pa.Table.from_pylist(rows, schema=COMMIT_SCHEMA)
        store.put_table(f"commits/segments/{place:08d}.parquet", table)
    known = candidates.read_table(store, config.sources).select(CANDIDATE_SCHEMA.names)
    ids = set(known["video_id"].to_pylist())
    videos = [commit.video.as_row() for commit in commits if commit.video.video_id not in ids]
    found = pa.Table.from_pylist(videos, schema=CANDIDATE_SCHEMA)
    candidates.write_table(store, config.sources[0], pa.concat_tables([known, found]))


def _write_pack(store: Store, config: BuildConfig, number: int, luma: int) -> Commit:
    video = synthetic_video(number)
    motion = np.random.default_rng(number).random(CLIPS_A_PACK).round(6).tolist()
    file = io.BytesIO()
    with ClipTarWriter(file) as tar:
        for place in range(CLIPS_A_PACK):
            first_frame = place * CLIP_FRAMES
            clip = Clip(
                key=clip_key(video.video_id, first_frame),
                video_id=video.video_id,
                start_s=first_frame / CLIP_FPS,
                n_frames=_FRAMES,
                unique_frames=_FRAMES,
                fps=CLIP_FPS,
                content_box=ContentBox(0, 0, _WIDTH_PX, _HEIGHT_PX),
            )
            tar.append(clip, _encoded(luma))
    pack = pack_name(video.video_id, config.settings_hash, f"{luma:08x}")
    _write(store, pack, file.getvalue())
    _write_table(store, index_name(pack), tar.index())
    keys = [placed.clip.key for placed in tar.placed]
    _write_table(store, score_name("motion", pack), pa.table({"key": keys, "motion": motion}))
    return Commit(video, config.settings_hash, "ingested", None, pack, CLIPS_A_PACK)


@cache
def _encoded(luma: int) -> EncodedClip:
    return encode_clip(np.full((_FRAMES, _HEIGHT_PX * 3 // 2, _WIDTH_PX), luma, np.uint8))


def synthetic_video(number: int) -> Video:
    """What discovery might know of a video; the number is all that differs, and of what channel it is."""
    url = f"https://example.org/watch/{number:09d}"
    return Video(
        video_id=f"example-{number:09d}",
        source="web",
        url=url,
        title=f"Some indie platformer, level {number}",
        description=f"Gameplay without commentary, part {number}. " * 5,
        channel=f"channel {number % CHANNELS}",
        duration_s=600.0,
        found_at=(url,),
    )


def _write_table(store: Store, name: str, table: pa.Table) -> None:
    file = io.BytesIO()
    write_parquet(table, file)
    _write(store, name, file.getvalue())


def _write(store: Store, name: str, data: bytes) -> None:
    path = store.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
