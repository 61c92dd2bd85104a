"""Ingest: one source video in; one pack of measured clips and one commit out.

Nothing about a clip is decided here. A unit is done wherever and as often as it may be: its commit
is created only if absent, and equal work gives equal bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from filters.base import ClipFrames, load_scorers, measure, measure_many, scorer_folder, wide_scorers
from pipeline.cut import CutReport, cut
from pipeline.engine import Part
from pipeline.frame import FrameSettings, geometry
from pipeline.opt_out import OptOut
from pipeline.outcomes import INGESTED, Failed, Rejected, is_final
from pipeline.probe import Probe, probe
from pipeline.scratch import scratch_folder
from pipeline.sources.base import Source
from shards.codec import CLIP_FPS, CLIP_FRAMES, encode_clip
from shards.commits import Commit, create_commit, pack_name
from shards.errors import UserError
from shards.index import ClipTarWriter, decode_frames, index_name, read_clip, read_index, telling_damage
from shards.keys import clip_key
from shards.records import Clip, Placed, Video
from shards.store import Store
from shards.wide import WideReader, WideWriter, wide_name

_NOBODY = OptOut()

Scores = dict[str, list[dict[str, str | float | bytes]]]
"""Scorer name -> a row (key, scores and blobs) for each clip."""

# Between 9.5 and 10 frames a second lies what is called 10 and counted over a rounded duration.
_MIN_FPS = 0.95 * CLIP_FPS

_MIN_DEADLINE_S = 1800.0
_DEADLINE_PER_SOURCE_S = 6.0
_UNKNOWN_DURATION_S = 12 * 3600.0
_MAX_DURATION_S = 24 * 3600.0


@dataclass(frozen=True)
class Unit:
    """One source video, with all that its ingest needs to know.

    Attributes:
        store: URL of the dataset.
        settings: hash of what shapes the clips; it names pack and commit.
        remote: whether its bytes come over the network.
        opt_out: who is not to be fetched.
    """

    store: str
    video: Video
    source: Source
    frame: FrameSettings
    scorers: tuple[str, ...]
    settings: str
    remote: bool = False
    opt_out: OptOut = _NOBODY


@dataclass(frozen=True)
class Ended:
    """How a unit ended.

    Attributes:
        detail: one line for a person.
        pack: object that holds its clips, if there are any.
        clips: how many came of it.
        dropped_frames: frames of 10 a second that are in no clip, since none is so short.
        passing: whether a failure may pass by itself.
        retry_after_s: how long a site asked to be left alone.
        requests: how many requests the site was asked.
    """

    state: str
    detail: str | None = None
    pack: str | None = None
    clips: int = 0
    dropped_frames: int = 0
    passing: bool = False
    retry_after_s: float | None = None
    requests: int = 0


def ingest(unit: Unit) -> Generator[Part, None, Ended]:
    """Fetch, cut, measure, pack and commit one video; what cannot succeed later is committed too."""
    store = Store(unit.store)
    video = unit.video
    requests = 0
    try:
        with scratch_folder(unit.store, video.video_id) as folder:
            fetched = unit.source.fetch(video, folder, unit.opt_out)
            video, requests = fetched.video, fetched.requests
            found = probe(fetched.path)
            video = _described(video, found)
            _reject_low_fps(found, unit.frame)
            yield Part(_cut_deadline_s(found))
            ended = _pack(store, unit, fetched.path, found)
            assert ended.pack
            for name, data in fetched.beside.items():
                store.put(f"{ended.pack.removesuffix('.tar')}.{name}", data)
    except Rejected as rejected:
        requests = requests or rejected.requests
        ended = Ended(rejected.state, rejected.detail)
    except Failed as failed:
        requests = requests or failed.requests
        ended = Ended(failed.state, failed.detail, passing=failed.passing, retry_after_s=failed.retry_after_s)
    ended = replace(ended, requests=requests)
    if is_final(ended.state):
        create_commit(
            store,
            Commit(
                video=video,
                settings=unit.settings,
                state=ended.state,
                detail=ended.detail,
                pack=ended.pack,
                clips=ended.clips,
                dropped_frames=ended.dropped_frames,
            ),
        )
    return ended


@dataclass(frozen=True)
class MeasureUnit:
    """One pack, and the scorers that have not seen it yet.

    Attributes:
        device: where those with a model that can work there do: `cpu`, `cuda`, `cuda:1`...
        batch: how many clips are measured at once; the scores are the same.
    """

    store: str
    pack: str
    scorers: tuple[str, ...]
    device: str = "cpu"
    batch: int = 16


def measure_pack(unit: MeasureUnit) -> int:
    """Measure the clips of a pack that was cut earlier; returns their number.

    Raises:
        UserError: a scorer looks at wide frames, and none are kept beside the pack; the pack is lost or
            damaged; or the device is not there.
    """
    store = Store(unit.store)
    scorers = load_scorers(unit.scorers, unit.device)
    scores: Scores = {name: [] for name in unit.scorers}
    with telling_damage(store, unit.pack), _wide_frames(store, unit) as wide:
        placed_clips = read_index(store, unit.pack)
        for first in range(0, len(placed_clips), unit.batch):
            several = placed_clips[first : first + unit.batch]
            seen = [_seen(store, unit.pack, placed, wide) for placed in several]
            for placed, measured in zip(several, measure_many(scorers, seen), strict=True):
                _note(scores, placed.clip.key, measured)
    _write_scores(store, unit.pack, scores)
    return len(placed_clips)


def _seen(store: Store, pack: str, placed: Placed, wide: WideReader | None) -> ClipFrames:
    clip = placed.clip
    frames = decode_frames(read_clip(store, pack, placed))
    return ClipFrames(frames, clip.content_box, clip.fps, wide.frames(clip.key) if wide else ())


def _wide_frames(store: Store, unit: MeasureUnit) -> AbstractContextManager[WideReader | None]:
    wanted = wide_scorers(unit.scorers)
    if not wanted:
        return nullcontext()
    name = wide_name(unit.pack)
    if not store.exists(name):
        raise UserError(
            f"dataset {store.url}: scorer {wanted[0]} looks at wide frames, and there is no {name}; bring it "
            "back, or build into another dataset with `frame: {wide: true}`"
        )
    return WideReader(store, unit.pack)


def score_name(scorer: str, pack: str) -> str:
    """The object with a scorer's scores of a pack's clips."""
    return f"{scorer_folder(scorer)}/{index_name(pack).removeprefix('packs/')}"


def _pack(store: Store, unit: Unit, path: Path, found: Probe) -> Ended:
    video_id = unit.video.video_id
    scorers = load_scorers(unit.scorers)
    scores: Scores = {scorer: [] for scorer in unit.scorers}
    box = geometry(found, unit.frame.fit).box
    report = CutReport()
    with store.stage() as staged, store.stage() if unit.frame.wide else nullcontext() as beside:
        with ClipTarWriter(staged.file) as tar, WideWriter(beside.file) if beside else nullcontext() as wide:
            for piece in cut(path, found, unit.frame, report):
                encoded = encode_clip(piece.frames)
                clip = Clip(
                    key=clip_key(video_id, piece.first_frame),
                    video_id=video_id,
                    start_s=piece.first_frame / CLIP_FPS,
                    n_frames=CLIP_FRAMES,
                    unique_frames=piece.unique_frames,
                    fps=CLIP_FPS,
                    content_box=box,
                )
                seen = ClipFrames(decode_frames(encoded), box, CLIP_FPS, piece.wide)
                _note(scores, clip.key, measure(scorers, seen))
                tar.append(clip, encoded)
                if wide:
                    wide.append(clip.key, piece.wide)
        if not tar.placed:
            raise Rejected("too_short", f"no {CLIP_FRAMES / CLIP_FPS:g} s without a gap in it")
        staged.file.seek(0)
        name = pack_name(video_id, unit.settings, hashlib.file_digest(staged.file, "sha256").hexdigest())
        staged.publish(name)
        if beside:
            beside.publish(wide_name(name))
    store.put_table(index_name(name), tar.index())
    _write_scores(store, name, scores)
    return Ended(INGESTED, pack=name, clips=len(tar.placed), dropped_frames=report.dropped_frames)


def _note(scores: Scores, key: str, measured: Mapping[str, Mapping[str, float | bytes]]) -> None:
    for scorer, values in measured.items():
        scores[scorer].append({"key": key, **values})


def _write_scores(store: Store, pack: str, scores: Scores) -> None:
    for scorer, rows in scores.items():
        store.put_table(score_name(scorer, pack), pa.Table.from_pylist(rows))


def _cut_deadline_s(found: Probe) -> float:
    """Ffmpeg has a deadline of its own; this is for all that is done with its frames."""
    told_s = min(found.duration_s or _UNKNOWN_DURATION_S, _MAX_DURATION_S)
    return max(_MIN_DEADLINE_S, _DEADLINE_PER_SOURCE_S * told_s)


def _described(video: Video, found: Probe) -> Video:
    """The video with what the file itself says; the file is right where the page differs."""
    return replace(
        video,
        duration_s=found.duration_s or video.duration_s,
        width=found.width,
        height=found.height,
        fps=found.fps,
        codec=found.codec,
    )


def _reject_low_fps(found: Probe, frame: FrameSettings) -> None:
    if not frame.allow_low_fps and found.fps is not None and found.fps < _MIN_FPS:
        raise Rejected("low_fps", f"{found.fps:.3g} frames a second; clips have {CLIP_FPS}")
