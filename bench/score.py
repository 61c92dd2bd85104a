"""How much CPU each scorer takes for a clip.

Every scorer sees every clip for itself: what several of them share in a build is counted for each. The
floor is decoding the clip, which measuring it from its pack costs anyway.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.sources import ROOT
from filters.base import ClipFrames, load_scorers, measure, scorer_names
from pipeline.cut import cut
from pipeline.frame import FrameSettings, geometry
from pipeline.outcomes import Failed
from pipeline.probe import probe
from shards.codec import CLIP_FPS, EncodedClip, encode_clip
from shards.errors import UserError
from shards.index import decode_frames
from shards.records import ContentBox
from shards.wide import WideFrame

SAMPLES = ROOT / "examples" / "gameplay"

_Clip = tuple[EncodedClip, ContentBox, tuple[WideFrame, ...]]


def bench_score(
    videos: Sequence[Path],
    rounds: int,
    on_clip: Callable[[int, int, str], None],
    classifier: Path | None = None,
) -> dict[str, Any]:
    """CPU milliseconds a clip: of every scorer, the median over clips and rounds.

    Args:
        videos: sources; none for the samples of gameplay.
        on_clip: is told of measured clips, of all, and the video the clip is of.
        classifier: the folder of one, whose `quality` is measured too.

    Raises:
        UserError: the videos give no clip.
    """
    paths = list(videos) or sorted(SAMPLES.glob("*.mp4"))
    clips = [(path.name, clip) for path in paths for clip in _clips(path)]
    if not clips:
        raise UserError(f"{paths[0]}: there is no clip in it; give a video of 16 s and more")
    learned = (f"quality@{classifier}",) if classifier else ()
    scorers = load_scorers((*scorer_names(), *learned))
    costs: dict[str, list[float]] = {scorer.name: [] for scorer in scorers}
    decoding: list[float] = []
    for turn in range(rounds):
        for number, (name, (encoded, box, wide)) in enumerate(clips, 1):
            start_s = time.process_time()
            frames = decode_frames(encoded)
            decoding.append(time.process_time() - start_s)
            for scorer in scorers:
                seen = ClipFrames(frames, box, CLIP_FPS, wide)
                start_s = time.process_time()
                measure([scorer], seen)
                costs[scorer.name].append(time.process_time() - start_s)
            on_clip(turn * len(clips) + number, rounds * len(clips), name)
    floor = median(decoding)
    return {
        "benchmark": "score",
        "rounds": rounds,
        "clips": len(clips),
        "measured": {
            scorer.name: {"view": scorer.view, "cpu_ms_per_clip": _ms(median(costs[scorer.name]))}
            for scorer in scorers
        },
        "floor": {"decoding a clip": {"cpu_ms_per_clip": _ms(floor)}},
        "peers": {},
        "ratios": {name: round(median(cost) / floor, 2) for name, cost in costs.items()},
    }


def _clips(video: Path) -> Iterator[_Clip]:
    settings = FrameSettings(wide=True)
    try:
        found = probe(video)
    except Failed as failed:
        raise UserError(f"{video}: {failed.detail}") from None
    for piece in cut(video, found, settings):
        yield encode_clip(piece.frames), geometry(found, settings.fit).box, piece.wide


def _ms(cpu_s: float) -> float:
    return round(1000 * cpu_s, 2)
