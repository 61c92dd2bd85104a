"""The same clips made by ffmpeg alone: the floor that ingest is measured against, and other ways.

All of them run on one thread, with the filters and the encoder settings of the product. What they do
not do: look for bars and gaps, count frames exactly, measure, pack, store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ffmpeg

from bench.rounds import Work
from bench.sources import run_ffmpeg
from pipeline.decode import to_bt601
from pipeline.frame import geometry
from pipeline.probe import Probe, probe
from shards.codec import CLIP_FPS, CLIP_FRAMES, HEIGHT_PX, WIDTH_PX, X264

_CLIP_S = CLIP_FRAMES / CLIP_FPS


def segment(video: Path) -> Work:
    """One process that decodes, scales and encodes, cut at key frames by the segment muxer: the floor."""
    found = probe(video)

    def work(folder: Path) -> None:
        clips = _picture(video, found).output(
            f"{folder}/%06d.mp4",
            f="segment",
            segment_time=_CLIP_S,
            force_key_frames=f"expr:gte(t,n_forced*{_CLIP_S})",
            reset_timestamps=1,
            segment_format_options="movflags=+faststart",
            **_encoder(),
        )
        _run(clips)

    return work


def seek(video: Path) -> Work:
    """A process for each clip, which seeks to its start."""
    found = probe(video)

    def work(folder: Path) -> None:
        for number in range(int((found.duration_s or 0) / _CLIP_S)):
            picture = _picture(video, found, ss=number * _CLIP_S, t=_CLIP_S)
            _run(picture.output(f"{folder}/{number:06d}.mp4", movflags="+faststart", **_encoder()))

    return work


def decode(video: Path) -> Work:
    """Bare decoding: nothing is scaled and nothing comes of it."""
    return lambda _: run_ffmpeg("-threads", "1", "-i", video, "-map", "0:v:0", "-f", "null", "-")


def _picture(video: Path, found: Probe, **place: float) -> Any:
    fitted = geometry(found, "pad")
    picture = ffmpeg.input(str(video), threads=1, **place)["v:0"].filter("fps", CLIP_FPS)
    picture = to_bt601(picture, found, *fitted.scaled)
    return picture.filter("pad", WIDTH_PX, HEIGHT_PX, fitted.box.x, fitted.box.y)


def _encoder() -> dict[str, Any]:
    params = {name: value for name, value in X264.items() if name != "x264-params"}
    return {"vcodec": "libx264", "threads": 1, "x264-params": X264["x264-params"], **params}


def _run(output: Any) -> None:
    command = ffmpeg.get_args(output.global_args("-filter_complex_threads", "1"))
    run_ffmpeg(*command)
