"""What is measured on: a sample of `examples/` as a video site would serve it, or a user's files."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipeline.decode import ffmpeg_binary

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".bench"
"""What benchmarks keep from run to run: renditions, and the environments of peers."""

_SAMPLE = ROOT / "examples" / "gameplay" / "coinrun_hard_run.mp4"  # 30 fps, 640x360, 90 s
_RENDITION_S = 304  # 19 clips


@dataclass(frozen=True)
class Rendition:
    """A size and a rate that video sites serve H.264 of 30 frames a second at."""

    name: str
    width: int
    height: int
    kbits_per_s: int

    def make(self) -> Path:
        """The sample at this size and rate, looped to five minutes; made when it is first asked for."""
        path = CACHE / "renditions" / f"{self.name}-{self.kbits_per_s}k.mp4"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            once, new = path.with_suffix(".once.mp4"), path.with_suffix(".new.mp4")
            rate = f"{self.kbits_per_s}k"
            run_ffmpeg(
                *("-i", _SAMPLE, "-an", "-vf", f"scale={self.width}:{self.height}:flags=lanczos"),
                *("-c:v", "libx264", "-preset", "medium", "-g", "150"),
                *("-b:v", rate, "-maxrate", rate, "-bufsize", "2M", once),
            )
            loop(once, new, _RENDITION_S)
            once.unlink()
            new.rename(path)
        return path


RENDITIONS = (
    Rendition("144p", 256, 144, 80),
    Rendition("360p", 640, 360, 500),
    Rendition("720p", 1280, 720, 1500),
)


def loop(video: Path, to: Path, duration_s: float) -> None:
    """Repeat a video, without encoding it again, until it lasts so long."""
    run_ffmpeg("-stream_loop", "-1", "-i", video, "-c", "copy", "-t", str(duration_s), to)


def run_ffmpeg(*arguments: str | Path) -> None:
    """Run the ffmpeg that the product runs."""
    command = [ffmpeg_binary("bundled"), "-nostdin", "-y", "-v", "error", *arguments]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
