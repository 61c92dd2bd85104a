"""How much CPU ingest takes, against one ffmpeg that makes the same clips.

What is measured is `pipeline.ingest` itself: a look at the source, decode, cut, encode, the `clip`
scorers, pack and commit, into a dataset that is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import by_ffmpeg
from bench.clips import whole_clips
from bench.rounds import Cost, Missing, Work, median_cpu_s, median_ratio, take_turns
from bench.sources import RENDITIONS
from filters.base import scorer_names, wide_scorers
from pipeline.engine import all_parts
from pipeline.frame import FrameSettings
from pipeline.ingest import Unit, ingest
from pipeline.outcomes import INGESTED
from pipeline.sources.files import FilesSource
from shards.errors import UserError

PRODUCT = "genieset"
FLOOR = "one ffmpeg"
DECODE = "bare decoding"
SEEK = "ffmpeg -ss a clip"

_BY_FFMPEG = {FLOOR: by_ffmpeg.segment, DECODE: by_ffmpeg.decode, SEEK: by_ffmpeg.seek}


def bench_cut(
    videos: Sequence[Path],
    rounds: int,
    on_turn: Callable[[int, int, str], None],
    peers: Mapping[str, Callable[[Path], Work]],
) -> dict[str, Any]:
    """CPU seconds of ingest, of the floor and of every peer, source by source.

    Args:
        videos: sources; none for the renditions of a sample.
        peers: further contenders: name -> prepares the work on a source.

    Raises:
        UserError: a source gives no clip.
    """
    sources = {str(video): video for video in videos} or {r.name: r.make() for r in RENDITIONS}
    contenders = {PRODUCT: _ingest} | _BY_FFMPEG | dict(peers)
    turns = {
        f"{source}: {name}": partial(prepare, path)
        for source, path in sources.items()
        for name, prepare in contenders.items()
    }
    costs = take_turns(turns, rounds, whole_clips, on_turn)
    table = {source: {name: costs[f"{source}: {name}"] for name in contenders} for source in sources}
    return {"benchmark": "cut", "rounds": rounds} | _result(table)


def unit_of(video: Path) -> Unit:
    """A local video, to be ingested with all `clip` scorers; its dataset is still to be named."""
    source = FilesSource(path=str(video))
    found = next(iter(source.discover(_raise)))
    of_clips = [name for name in scorer_names() if name not in wide_scorers([name])]
    return Unit("", found.video, source, FrameSettings(), tuple(of_clips), "bench")


def _ingest(video: Path) -> Work:
    unit = unit_of(video)

    def work(dataset: Path) -> None:
        ended = all_parts(ingest(replace(unit, store=str(dataset))))
        if ended.state != INGESTED:
            raise UserError(f"{video}: {ended.state} ({ended.detail}); give a video of 16 s and more")

    return work


def _result(table: Mapping[str, Mapping[str, list[Cost] | Missing]]) -> dict[str, Any]:
    """The one object that is printed: by contender, and for each by source."""
    by_name: dict[str, dict[str, Any]] = {}
    ratios: dict[str, dict[str, float]] = {}
    for source, contenders in table.items():
        ours = contenders[PRODUCT]
        assert isinstance(ours, list)
        for name, costs in contenders.items():
            by_name.setdefault(name, {})[source] = _figures(costs)
            if name != PRODUCT and isinstance(costs, list):
                ratios.setdefault(name, {})[source] = round(median_ratio(ours, costs), 3)
    measured, floor = by_name.pop(PRODUCT), by_name.pop(FLOOR)
    return {"measured": measured, "floor": floor, "peers": by_name, "ratios": ratios}


def _figures(costs: list[Cost] | Missing) -> dict[str, Any]:
    if isinstance(costs, Missing):
        return {"missing": costs.why}
    cpu_s, made = median_cpu_s(costs), costs[0].made
    figures = {"cpu_s": round(cpu_s, 3), "clips": made}
    return figures | ({"cpu_ms_per_clip": round(1000 * cpu_s / made, 1)} if made else {})


def _raise(problem: str) -> None:
    raise UserError(problem)
