"""Planted copies: of real videos by ffmpeg, and of synthetic footage by arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.sources import run_ffmpeg
from filters.base import ClipFrames, load_scorers
from filters.fingerprint import FRAMES, INNER_SLOTS, INNER_STEP_FRAMES, SLOTS, WHOLE_SLOTS, Hashes
from pipeline.cut import cut
from pipeline.frame import FrameSettings, geometry
from pipeline.probe import probe
from shards.codec import CLIP_FPS, decode_clip, encode_clip


@dataclass(frozen=True)
class Kind:
    """A way in which footage comes again.

    Attributes:
        filters: of ffmpeg.
        crf: of x264, `veryfast`.
        start_s: where it begins in the original.
        reported_only: whether it is measured without being promised.
    """

    filters: str
    crf: int = 26
    start_s: float = 0.0
    reported_only: bool = False


_SIDE = "floor(iw/12)*2"
_MIRRORED = (
    f"split=3[a][b][c];[a]crop={_SIDE}:ih:0:0,hflip[l];"
    f"[c]crop={_SIDE}:ih:iw-{_SIDE}:0,hflip[r];[l][b][r]hstack=inputs=3"
)
_BLURRED = (
    "split[a][b];[a]scale=floor(iw*2/3)*2:-2,crop=iw:floor(ih*3/8)*2,boxblur=12[wide];"
    "[wide][b]overlay=(W-w)/2:(H-h)/2"
)


def _border(share: float) -> str:
    """A border at each side, as a share of the picture; the size stays about what it was."""
    inner = 1 - 2 * share
    return (
        f"scale=floor(iw*{inner / 2})*2:floor(ih*{inner / 2})*2,"
        f"pad=floor(iw/{2 * inner})*2:floor(ih/{2 * inner})*2:(ow-iw)/2:(oh-ih)/2:color=0x305090"
    )


KINDS = {
    "encoded at crf 35": Kind("null", crf=35),
    "320 wide": Kind("scale=320:-2"),
    "cut 7.3 s later": Kind("null", crf=23, start_s=7.3),
    "black bars": Kind("pad=floor(iw*2/3)*2:ih:(ow-iw)/2:0"),
    "mirrored bars": Kind(_MIRRORED),
    "blurred bars": Kind(_BLURRED),
    "border of 2%": Kind(_border(0.02)),
    "border of 5%": Kind(_border(0.05)),
    "7.3 s later, 320 wide, crf 33": Kind("scale=320:-2", crf=33, start_s=7.3),
    "border of 8%": Kind(_border(0.08), reported_only=True),
    "mirrored picture": Kind("hflip", reported_only=True),
}


def make_copy(video: Path, kind: Kind, to: Path) -> None:
    """Encode a copy."""
    run_ffmpeg(
        *("-ss", str(kind.start_s), "-i", video, "-an", "-filter_complex", kind.filters),
        *("-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-crf", str(kind.crf), to),
    )


def fingerprints_of(
    video: Path, timed: Callable[[Callable[[], bytes]], bytes]
) -> tuple[list[int], list[bytes]]:
    """First frame and fingerprint of each clip that ingest would cut.

    Args:
        timed: calls what measures a clip.
    """
    found, settings = probe(video), FrameSettings()
    box = geometry(found, settings.fit).box
    (scorer,) = load_scorers(("fingerprint",))
    firsts, fingerprints = [], []
    for piece in cut(video, found, settings):
        clip = ClipFrames(decode_clip(encode_clip(piece.frames).mp4), box, CLIP_FPS)

        def measure(clip: ClipFrames = clip) -> bytes:
            value = scorer.measure(clip)["fingerprint"]
            assert isinstance(value, bytes)
            return value

        firsts.append(piece.first_frame)
        fingerprints.append(timed(measure))
    return firsts, fingerprints


@dataclass(frozen=True)
class Synthetic:
    """Fingerprints of footage that there never was; one row a clip, sorted by video and start.

    Attributes:
        videos, starts: as `find_matches` takes them.
        origin: the film that a row shows; rows of one film show the same footage.
        first: the frame of the film at which it begins.
    """

    fingerprints: Hashes
    videos: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    origin: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]


_CLIPS_A_VIDEO = 16
_CHUNK_FILMS = 500


def synthesize(clips: int, copied: float, seed: int = 0) -> Synthetic:
    """Videos of 16 clips each, a share of them copies of others: shifted, with noise in their bits.

    What real fingerprints are like is put in: of 63 bits, 6 in 100 change from a frame to the next (so
    that after two seconds nothing is left of a hash); a third of the frames shows no change, in runs;
    bits are not even: each has a leaning of its film's own; and of 500 films, 50 begin with the same 2.5 s,
    as levels do. Noise of copies is 3 bits in the mean, as of real ones, and a fifth have a border.
    """
    chance = np.random.default_rng(seed)
    videos = -(-clips // _CLIPS_A_VIDEO)
    copies = int(videos * copied)
    films = videos - copies
    length = FRAMES * _CLIPS_A_VIDEO
    fingerprints = np.zeros((videos * _CLIPS_A_VIDEO, SLOTS), np.uint64)
    origin = np.concatenate([np.arange(films), chance.choice(films, copies, replace=False)])
    later = np.concatenate([np.zeros(films, np.int64), chance.integers(0, FRAMES, copies)])
    noise = np.concatenate([np.zeros(films), np.full(copies, 3.0)])
    bordered = np.concatenate([np.zeros(films, bool), chance.random(copies) < 0.2])
    slots = np.arange(WHOLE_SLOTS)
    by_film = np.argsort(origin, kind="stable")
    for start in range(0, films, _CHUNK_FILMS):
        number = np.arange(start, min(films, start + _CHUNK_FILMS))
        film = _films(number, length + FRAMES, seed)
        low, high = np.searchsorted(origin[by_film], (number[0], number[-1] + 1))
        for video in by_film[low:high].tolist():
            shown = film[origin[video] - start]
            frames = later[video] + FRAMES * np.arange(_CLIPS_A_VIDEO)[:, None] + slots
            whole = _noisy(shown[frames], noise[video], chance)
            inner = _turned(whole[:, ::INNER_STEP_FRAMES])
            if bordered[video]:
                inner, whole = whole[:, ::INNER_STEP_FRAMES], _turned(whole)
            rows = fingerprints[video * _CLIPS_A_VIDEO : (video + 1) * _CLIPS_A_VIDEO]
            rows[:, :WHOLE_SLOTS], rows[:, WHOLE_SLOTS:] = whole, inner[:, :INNER_SLOTS]
    clip = np.tile(np.arange(_CLIPS_A_VIDEO) * FRAMES, videos)
    number = np.repeat(np.arange(videos), _CLIPS_A_VIDEO)
    found = Synthetic(fingerprints, number, clip, origin[number], clip + later[number])
    return Synthetic(*(column[:clips] for column in vars(found).values()))


def _films(numbers: npt.NDArray[np.int64], frames: int, seed: int) -> Hashes:
    """Hashes of films, `[len(numbers), frames]`."""
    chance = np.random.default_rng((seed, int(numbers[0])))
    count = len(numbers)
    leaning = (chance.random((count, 1)) < 0.5) | np.zeros((1, frames), bool)
    bits = np.zeros((count, frames), np.uint64)
    for bit in range(63):
        flips = chance.random((count, frames), np.float32) < 0.06
        sign = np.logical_xor.accumulate(flips, axis=1)
        leans = chance.random((count, frames), np.float32) < 0.1
        bits |= np.where(leans, leaning, sign).astype(np.uint64) << np.uint64(bit)
    bits |= np.uint64(1 << 63)
    same = 25
    bits[:, :same] = np.where((numbers % 10 == 0)[:, None], bits[:1, :same], bits[:, :same])
    still = np.logical_xor.accumulate(chance.random((count, frames), np.float32) < 0.03, axis=1)
    still[:, :same] = False
    return np.where(still & (chance.random((count, 1)) < 2 / 3), np.uint64(0), bits)


def _noisy(hashes: Hashes, bits: float, chance: np.random.Generator) -> Hashes:
    """With so many bits of each hash turned, in the mean."""
    if not bits:
        return hashes
    turned = np.zeros(hashes.shape, np.uint64)
    # How many there are differs from frame to frame as widely as among real ones.
    count = np.minimum(chance.geometric(1 / (bits + 1), hashes.shape) - 1, 20)
    for number in range(int(count.max())):
        bit = chance.integers(0, 63, hashes.shape).astype(np.uint64)
        turned |= np.where(count > number, np.uint64(1) << bit, np.uint64(0))
    return np.where(hashes != 0, hashes ^ turned, np.uint64(0))


def _turned(hashes: Hashes) -> Hashes:
    """What is seen at another scale: 11 bits differ, the same ones from frame to frame."""
    return np.where(hashes != 0, hashes ^ np.uint64(0x0041084210841084), np.uint64(0))
