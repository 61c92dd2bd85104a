"""A published dataset whose videos say of themselves what would do harm if it were more than text."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.build import build
from pipeline.config import BuildConfig
from pipeline.engine.child import OneChild
from shards.keys import file_video_id, split_of
from tests.quiet import Quiet

HOSTILE = (
    "<script>alert(1)</script> [mine](javascript:alert(1)) ![x](http://evil.example/x.png) www.evil.example "
    "`a` | b | *c* _d_ &lt;img src=x&gt; {{ site }} \u202eevil\u202c </script>\n---\nlicense: mit\n# Mine\n"
)
"""HTML, Markdown, YAML, a table's cell and a turned direction of writing."""

CHANNEL = f"channel {HOSTILE}"


def publish_hostile(root: Path, make_video: Callable[..., Path], **blocks: object) -> BuildConfig:
    """Build `root/set`: six kept clips of three videos in two splits and some shards, and one dropped.

    Args:
        blocks: of the config, besides.
    """
    videos = root / "videos"
    videos.mkdir(parents=True)
    told = [
        {"license": None, "channel": None},
        {"license": HOSTILE, "channel": CHANNEL},
        {"license": "CC-BY-4.0"},
    ]
    ids = []
    for number, info in enumerate(told):
        path = videos / f"{number}.mp4"
        source = f"testsrc2=size=64x36:rate=10:duration={33 + number}"
        shutil.copy(make_video(f"hostile{number}.mp4", source, vf=f"hue=h={60 * number}"), path)
        info |= {"title": HOSTILE, "description": HOSTILE}
        (videos / f"{number}.info.json").write_text(json.dumps(info))
        ids.append(file_video_id(hashlib.sha256(path.read_bytes()).hexdigest()))
    shutil.copy(make_video("still.mp4", "color=red:size=64x36:rate=15:duration=17"), videos)
    (videos / "text.mp4").write_text("not a video\n" * 100)
    shares = (number / 100 for number in range(5, 100, 5))
    share = next(s for s in shares if len({split_of(i, {"train": s, "val": 1 - s}) for i in ids}) == 2)
    config = BuildConfig.model_validate(
        {
            "dataset": str(root / "set"),
            "sources": [{"kind": "files", "path": str(videos)}],
            "curate": {
                "rules": {"static": "motion >= 0.0001"},
                "splits": {"train": share, "val": round(1 - share, 2)},
            },
            "shards": {"max_bytes": 60_000},
            **blocks,
        }
    )
    build(config, OneChild(), Quiet())
    return config
