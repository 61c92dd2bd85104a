"""A corpus whose labels are known, because what is bad in it was planted.

Each gameplay video becomes one corpus video of pieces, 16 s each, in an order by seed: as many of the
game alone as spoilt ones. A spoilt piece is the same game under a webcam, in a small window of a stream's
layout, or something else instead: a menu, a title or end card, slides, other footage. Good and bad pieces
of a video go through one encoder together, so size, codec, bitrate and frame rate tell nothing of them; the
videos differ in all four. The labels say what was planted (`labeller: provenance`), not what a
person saw: 5 for the game alone, 1 for the rest.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bench.sources import run_ffmpeg
from pipeline.probe import probe
from shards.codec import CLIP_FPS, CLIP_FRAMES

PIECE_S = CLIP_FRAMES / CLIP_FPS
_WIDTH_PX, _HEIGHT_PX, _FPS = 640, 360, 30
_GOOD, _BAD = 5, 1

# A source of its own each: what a video site may have done to a video.
_ENCODERS: tuple[tuple[str, ...], ...] = (
    ("-vf", "scale=640:360", "-c:v", "libx264", "-preset", "veryfast", "-crf", "20"),
    ("-vf", "scale=426:240", "-c:v", "libx264", "-preset", "veryfast", "-crf", "26"),
    ("-vf", "scale=256:144", "-c:v", "libx264", "-preset", "veryfast", "-b:v", "90k"),
    ("-vf", "scale=426:240", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "200k"),
    ("-vf", "scale=640:360", "-c:v", "libx264", "-preset", "veryfast", "-crf", "30", "-r", "25"),
)


# Matroska has random ids in it, and a video is known by its bytes.
_NO_CHANCE = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact")


@dataclass(frozen=True)
class Piece:
    """One clip to be.

    Attributes:
        kind: `game`, or what was planted: `webcam`, `window`, `menu`, `card`, `slides`, `footage`.
    """

    kind: str

    @property
    def label(self) -> int:
        """5 for the game alone, 1 for everything else."""
        return _GOOD if self.kind == "game" else _BAD


@dataclass(frozen=True)
class CorpusVideo:
    """A video of the corpus, and what each of its clips is."""

    path: Path
    pieces: tuple[Piece, ...]


def make_corpus(
    gameplay: list[Path], footage: list[Path], folder: Path, pieces: int, seed: int
) -> Iterator[CorpusVideo]:
    """Make one video of each gameplay video, unless it lies in `folder` already.

    Args:
        gameplay: videos of games, at least 18 s each.
        footage: other videos, one of which is shown in full, in a corner or in no piece, by seed.
        pieces: how many clips each video has, half of them good.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, game in enumerate(sorted(gameplay)):
        chance = random.Random(f"{seed}:{number}")  # noqa: S311 - a seed that repeats is what is wanted
        kinds = ["game"] * (pieces // 2) + [PLANTED[i % len(PLANTED)] for i in range(pieces - pieces // 2)]
        chance.shuffle(kinds)
        path = folder / f"{game.stem}.mkv"
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=folder, prefix=".") as work:
                new = Path(work, path.name)
                _make_video(kinds, game, footage, chance, _ENCODERS[number % len(_ENCODERS)], new)
                new.rename(path)
        yield CorpusVideo(path, tuple(Piece(kind) for kind in kinds))


def _make_video(
    kinds: list[str],
    game: Path,
    footage: list[Path],
    chance: random.Random,
    encoder: tuple[str, ...],
    path: Path,
) -> None:
    parts = [path.with_name(f"{place:03d}.mp4") for place in range(len(kinds))]
    for kind, part in zip(kinds, parts, strict=True):
        _paint(kind, game, chance.choice(footage), chance, part)
    listing = path.with_name("parts.txt")
    listing.write_text("".join(f"file '{part.name}'\n" for part in parts))
    run_ffmpeg("-f", "concat", "-i", listing, "-an", *encoder, *_NO_CHANCE, path)


def _paint(kind: str, game: Path, footage: Path, chance: random.Random, part: Path) -> None:
    """One piece, 16 s of 640x360 at 30 frames a second."""
    fit = f"fps={_FPS},scale={_WIDTH_PX}:{_HEIGHT_PX}:force_original_aspect_ratio=decrease"
    whole = f"{fit},pad={_WIDTH_PX}:{_HEIGHT_PX}:(ow-iw)/2:(oh-ih)/2,setsar=1,format=yuv420p"
    filled = f"fps={_FPS},scale={_WIDTH_PX}:{_HEIGHT_PX}:force_original_aspect_ratio=increase"
    filled += f",crop={_WIDTH_PX}:{_HEIGHT_PX},setsar=1,format=yuv420p"
    played, shown = _stretch(game, chance), _stretch(footage, chance)
    if kind == "game":
        inputs, graph = [*played], f"[0:v]{whole}"
    elif kind == "footage":
        inputs, graph = [*shown], f"[0:v]{filled}"
    elif kind == "webcam":
        width = chance.randrange(130, 220, 2)
        x = chance.choice((8, _WIDTH_PX - width - 8))
        corner = chance.choice(("8", "H-h-8"))
        inputs = [*played, *shown]
        graph = f"[0:v]{whole}[game];[1:v]fps={_FPS},scale={width}:-2[face];[game][face]overlay={x}:{corner}"
    elif kind == "window":
        width = chance.randrange(340, 460, 2)
        x, y = chance.randrange(10, _WIDTH_PX - width - 10), chance.randrange(20, 90)
        _draw(kind, chance).save(part.with_suffix(".png"))
        inputs = [*played, "-loop", "1", "-framerate", str(_FPS), "-i", part.with_suffix(".png")]
        graph = f"[0:v]{whole},scale={width}:-2[game];[1:v][game]overlay={x}:{y}"
    else:
        # A cursor, a title or a page moves on every two seconds.
        stills = int(PIECE_S / _STILL_S)
        drawn = chance.getrandbits(32)
        for still in range(stills):
            page = still // 3 if kind == "slides" else 0
            picture = _draw(kind, random.Random(drawn + page), still)  # noqa: S311 - as above
            picture.save(part.with_name(f"{part.stem}-{still}.png"))
        inputs = ["-framerate", str(1 / _STILL_S), "-i", part.with_name(f"{part.stem}-%d.png")]
        graph = f"[0:v]fps={_FPS},setsar=1,format=yuv420p"
        if kind == "menu":
            # Most menus lie over the game they belong to.
            inputs = [*played, *inputs]
            graph = (
                f"[0:v]{whole},boxblur=6,eq=brightness=-0.15[game];[1:v]fps={_FPS}[menu];[game][menu]overlay"
            )
    run_ffmpeg(
        *inputs,
        *("-filter_complex", f"{graph},format=yuv420p[out]", "-map", "[out]"),
        *("-frames:v", str(int(PIECE_S * _FPS)), "-c:v", "libx264", "-preset", "ultrafast", "-crf", "10"),
        part,
    )


def _stretch(video: Path, chance: random.Random) -> tuple[str | Path, ...]:
    duration_s = probe(video).duration_s or 0.0
    start_s = chance.uniform(0, max(0.0, duration_s - PIECE_S - 0.5))
    return ("-stream_loop", "-1", "-ss", f"{start_s:.2f}", "-t", str(PIECE_S + 1), "-i", video)


def _draw(kind: str, chance: random.Random, still: int = 0) -> Image.Image:
    """A picture of 640x360: the frame of a stream, a menu, a card or a slide."""
    size = (_WIDTH_PX, _HEIGHT_PX)
    dark = tuple(chance.randrange(10, 110) for _ in range(3))
    light = tuple(chance.randrange(170, 256) for _ in range(3))
    picture = Image.new("RGBA", size, (0, 0, 0, 0) if kind == "menu" else (*dark, 255))
    brush = ImageDraw.Draw(picture)
    if kind == "menu":
        lines = chance.sample(_MENU, chance.randrange(4, 7))
        for row, line in enumerate(lines):
            chosen = row == still % len(lines)
            brush.text(
                (230, 60 + 42 * row),
                line,
                font=_font(26),
                fill=(*light, 255) if chosen else (200, 200, 200, 255),
            )
    elif kind == "slides":
        brush.rectangle((0, 0, *size), fill=(*light, 255))
        brush.text((40, 30), _words(chance, 3).title(), font=_font(30), fill=(*dark, 255))
        for row in range(chance.randrange(3, 7)):
            brush.text((60, 100 + 36 * row), f"- {_words(chance, 5)}", font=_font(18), fill=(*dark, 255))
    elif kind == "card":
        for _ in range(chance.randrange(2, 6)):
            x, y = chance.randrange(_WIDTH_PX), chance.randrange(_HEIGHT_PX)
            brush.ellipse((x - 60, y - 60, x + 60, y + 60), fill=(*light, 90))
        title = chance.choice(("Thanks for watching", "Part {}", "Subscribe", "The end", "Episode {}"))
        brush.text(
            (90, 130 - still), title.format(chance.randrange(1, 90)), font=_font(44), fill=(*light, 255)
        )
        brush.text((95, 210), _words(chance, 4), font=_font(20), fill=(*light, 255))
    else:
        for row in range(9):
            brush.text((10, 12 + 38 * row), _words(chance, 9), font=_font(16), fill=(*light, 255))
    return picture.convert("RGBA")


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.sample(_WORDS, count))


_STILL_S = 2.0
PLANTED = ("webcam", "menu", "footage", "window", "card", "slides")
_MENU = ("Resume", "New game", "Load", "Options", "Controls", "Sound", "Video", "Credits", "Quit", "Back")
_WORDS = (
    *("soil", "river", "notes", "chapter", "result", "method", "garden", "signal", "market", "theory"),
    *("summer", "engine", "welcome", "today", "first", "question", "answer", "follow", "channel", "again"),
)
