"""Runs video2dataset 1.3.0 in its own environment: `python video2dataset_driver.py VIDEO SECONDS FOLDER`.

It cuts a local file into exact 16-second clips of 10 frames a second, 90 pixels high. Two mistakes of
its download stage are set right here, without which it loses every video.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from video2dataset import video2dataset
from video2dataset.subsamplers import FrameSubsampler, ResolutionSubsampler

_CLIP_S = 16

# The worker asks its first subsampler for this, and none of them has it.
ResolutionSubsampler.encode_formats = {"video": "mp4"}

_subsample = FrameSubsampler.__call__


def _keep_keys(self: Any, streams: dict[str, Any], metadata: Any = None) -> Any:
    """The same work on a copy: the worker iterates over the very dictionary that is changed."""
    changed, metas, error = _subsample(self, dict(streams), metadata)
    streams["video"] = changed["video"]
    return streams, metas, error


FrameSubsampler.__call__ = _keep_keys


def main(video: str, duration_s: float, folder: Path) -> None:
    """Write the clips as files below `folder`."""
    spans = [[start, start + _CLIP_S] for start in range(0, int(duration_s) - _CLIP_S + 1, _CLIP_S)]
    table = folder / "videos.json"
    table.write_text(json.dumps([{"url": video, "clips": spans}]))
    clipping = {
        "min_length": _CLIP_S,
        "max_length": _CLIP_S,
        "max_length_strategy": "all",
        "precision": "exact",
    }
    video2dataset(
        str(table),
        output_folder=str(folder / "out"),
        input_format="json",
        clip_col="clips",
        encode_formats={"video": "mp4"},
        tmp_dir=str(folder),
        config={
            "subsampling": {
                "ClippingSubsampler": {"args": clipping},
                "FrameSubsampler": {"args": {"frame_rate": 10}},
                "ResolutionSubsampler": {"args": {"height": 90, "resize_mode": ["scale"]}},
            },
            "reading": {
                "yt_args": {"download_size": 360, "download_audio_rate": 44100},
                "timeout": 60,
                "sampler": None,
            },
            "storage": {
                "number_sample_per_shard": 10,
                "oom_shard_count": 5,
                "captions_are_subtitles": False,
            },
            "distribution": {
                "processes_count": 1,
                "thread_count": 1,
                "subjob_size": 10,
                "distributor": "multiprocessing",
            },
        },
    )


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
