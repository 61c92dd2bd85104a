"""What scorers say of material in which the thing they look for was planted."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFont

from filters.base import ClipFrames, load_scorers, measure
from shards.codec import Frames
from shards.records import ContentBox
from shards.wide import WideFrame

EXAMPLES = Path(__file__).parents[2] / "examples"
WHOLE = ContentBox(0, 0, 160, 90)

Picture = npt.NDArray[np.uint8]


def scores(scorer: str, frames: Frames, box: ContentBox = WHOLE) -> dict[str, float]:
    return measure(load_scorers((scorer,)), ClipFrames(frames, box, 10))[scorer]


def wide_scores(scorer: str, *pictures: Picture) -> dict[str, float]:
    wide = []
    for place, picture in enumerate(pictures):
        jpeg = io.BytesIO()
        Image.fromarray(picture).save(jpeg, "JPEG", quality=92)
        wide.append(WideFrame(40 * place, jpeg.getvalue()))
    clip = ClipFrames(np.zeros((160, 135, 160), np.uint8), WHOLE, 10, wide)
    return measure(load_scorers((scorer,)), clip)[scorer]


def play(count: int = 160) -> Frames:
    """A checked world that scrolls by a pixel each frame."""
    rows, columns = np.indices((135, 160))
    return np.stack(
        [np.where((columns + t) // 10 % 2 ^ rows // 10 % 2, 60, 190) for t in range(count)]
    ).astype(np.uint8)


def frames_of(video: Path, count: int) -> list[Picture]:
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        step = max(1, stream.frames // count)
        shown = [
            f.to_ndarray(format="rgb24")
            for n, f in enumerate(container.decode(stream))
            if n % step == step // 2
        ]
    return shown[:count]


# static


def test_a_frozen_tail_is_the_longest_run() -> None:
    frames = play()
    frames[100:] = frames[100]
    told = scores("static", frames)
    assert told == {
        "static_share": pytest.approx(59 / 159, abs=1e-6),
        "static_longest": pytest.approx(59 / 159, abs=1e-6),
    }


def test_two_pauses_add_up_and_the_longer_one_is_told() -> None:
    frames = play()
    frames[10:31], frames[100:141] = frames[10], frames[100]
    told = scores("static", frames)
    assert told["static_share"] == pytest.approx(60 / 159, abs=1e-6)
    assert told["static_longest"] == pytest.approx(40 / 159, abs=1e-6)


def test_a_small_sprite_moves_and_coding_noise_does_not() -> None:
    still = np.full((160, 135, 160), 120, np.uint8)
    noisy = still + np.random.default_rng(0).integers(0, 8, still.shape, np.uint8)
    assert scores("static", noisy)["static_share"] == 1.0
    for t in range(160):
        noisy[t, 40:43, t % 150 : t % 150 + 3] = 200
    assert scores("static", noisy)["static_share"] == 0.0


# flat


def test_black_frames_and_cards_are_counted() -> None:
    frames = play()
    frames[:40], frames[40:80] = 16, 120
    told = scores("flat", frames)
    assert (told["black_share"], told["flat_share"]) == (0.25, 0.5)
    assert told["one_colour"] == pytest.approx(0.75, abs=0.01)


def test_a_dark_scene_is_not_black_and_a_sky_is_not_flat() -> None:
    frames = play()
    frames[:, :45] = 150
    frames[:80] //= 3
    told = scores("flat", frames)
    assert (told["black_share"], told["flat_share"]) == (0.0, 0.0)
    assert told["one_colour"] == pytest.approx(0.5, abs=0.01)


# letterbox


@pytest.mark.parametrize("level", [16, 90, 235])
def test_bars_of_one_colour_are_seen_while_they_are_there(level: int) -> None:
    frames = play()
    frames[80:, :15], frames[80:, 75:90] = level, level
    assert scores("letterbox", frames)["letterbox"] == pytest.approx(0.5 * 30 / 90, abs=1e-6)
    frames = play()
    frames[:, :, :55], frames[:, :, 105:] = level, level
    assert scores("letterbox", frames)["letterbox"] == pytest.approx(110 / 160, abs=1e-6)


def test_bars_on_all_four_sides_are_counted_once() -> None:
    frames = play()
    window = np.full_like(frames, 16)
    window[:, 20:70, 40:120] = frames[:, 20:70, 40:120]
    assert scores("letterbox", window)["letterbox"] == pytest.approx(1 - 50 * 80 / (90 * 160), abs=1e-6)


def test_a_sky_an_own_padding_and_a_light_in_the_dark_are_no_bars() -> None:
    sky = play()
    sky[:, :40] = 150
    assert scores("letterbox", sky)["letterbox"] == 0.0
    padded = np.full_like(sky, 16)
    padded[:, :, 34:124] = play()[:, :, 34:124]
    assert scores("letterbox", padded, ContentBox(34, 0, 90, 90))["letterbox"] == 0.0
    light = np.full_like(sky, 16)
    light[:, 30:60, 70:90] = 200
    assert scores("letterbox", light)["letterbox"] == 0.0
    assert scores("letterbox", np.full_like(sky, 16))["letterbox"] == 0.0


# text_area


def page(lines: int, size: int) -> Picture:
    drawn = Image.new("RGB", (640, 360), (30, 30, 60))
    draw, font = ImageDraw.Draw(drawn), ImageFont.load_default(size)
    for line in range(lines):
        draw.text(
            (40, 20 + line * (size + 10)), f"LEVEL {line} SCORE 120 LIVES", font=font, fill=(240, 240, 240)
        )
    return np.asarray(drawn)


def test_more_text_covers_more_of_the_picture() -> None:
    shares = [wide_scores("text_area", page(lines, 28))["text_area"] for lines in (0, 1, 3, 8)]
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert shares[1] >= 0.03
    assert shares[3] >= 0.25


def test_small_text_is_found_and_one_menu_of_four_frames_counts_for_a_quarter() -> None:
    assert wide_scores("text_area", page(12, 12))["text_area"] >= 0.1
    alone = wide_scores("text_area", page(6, 28))["text_area"]
    among = wide_scores("text_area", page(6, 28), page(0, 28), page(0, 28), page(0, 28))["text_area"]
    assert among == pytest.approx(alone / 4, abs=1e-6)


def test_slides_hold_text_and_play_does_not() -> None:
    slides = wide_scores("text_area", *frames_of(EXAMPLES / "not_gameplay" / "slides_lecture.mp4", 4))
    play = wide_scores("text_area", *frames_of(EXAMPLES / "gameplay" / "coinrun_hard_run.mp4", 4))
    assert slides["text_area"] >= 0.1
    assert play["text_area"] <= 0.01


# faces


def test_play_has_no_face() -> None:
    for name in ("coinrun_hard_run", "climber_tower_4x3", "supertux_afk"):
        told = wide_scores("faces", *frames_of(EXAMPLES / "gameplay" / f"{name}.mp4", 4))
        assert told == {"face_area": 0.0, "face_share": 0.0, "face_steady": 0.0}


# NASA's portrait of Eileen Collins, in the public domain, cut out of scikit-image's `astronaut`.
FACE = np.asarray(Image.open(Path(__file__).with_name("astronaut.jpg")))


def with_webcam(picture: Picture, size: int, right: int, bottom: int) -> Picture:
    """The picture with a face in a square of this size, so far from its lower right corner."""
    laid = picture.copy()
    rows, columns = slice(-bottom - size, -bottom), slice(-right - size, -right)
    laid[rows, columns] = np.asarray(Image.fromarray(FACE).resize((size, size)))
    return laid


@pytest.mark.parametrize("size", [80, 100, 160])
def test_a_webcam_is_a_face_in_every_frame_that_stays_in_its_place(size: int) -> None:
    frames = frames_of(EXAMPLES / "gameplay" / "coinrun_hard_run.mp4", 4)
    told = wide_scores(
        "faces", *(with_webcam(frame, size, 8 + place % 2, 8) for place, frame in enumerate(frames))
    )
    assert told["face_share"] == 1.0
    assert told["face_steady"] >= 0.8
    assert told["face_area"] == pytest.approx(0.25 * size**2 / (640 * 360), rel=0.4)


def test_a_face_that_comes_and_goes_is_not_steady() -> None:
    frames = frames_of(EXAMPLES / "gameplay" / "coinrun_hard_run.mp4", 4)
    wandering = [
        with_webcam(frame, 160, 8 + 150 * place, 8 + 40 * place) for place, frame in enumerate(frames)
    ]
    told = wide_scores("faces", *wandering[:3], frames[3])
    assert told["face_share"] == 0.75
    assert told["face_steady"] == 0.0
    assert wide_scores("faces", frames[0], wandering[1], frames[2])["face_steady"] == 0.0
