from __future__ import annotations

import numpy as np
import pytest

from filters.base import ClipFrames, load_scorers
from filters.fingerprint import SLOTS, WHOLE_SLOTS, Hashes, unpack
from shards.codec import Frames
from shards.records import ContentBox

WHOLE = ContentBox(0, 0, 160, 90)
RNG = np.random.default_rng(0)


def fingerprint(frames: Frames, box: ContentBox = WHOLE, fps: float = 10) -> Hashes:
    (scorer,) = load_scorers(("fingerprint",))
    value = scorer.measure(ClipFrames(frames, box, fps))["fingerprint"]
    assert isinstance(value, bytes)
    return unpack([value])[0]


def still(count: int = 160, level: int = 120) -> Frames:
    return np.full((count, 135, 160), level, np.uint8)


def wandering(count: int, seed: int = 0) -> Frames:
    """A coarse picture that changes all the time, with no structure above what a hash looks at."""
    chance = np.random.default_rng(seed)
    keys = chance.integers(30, 220, (count // 5 + 2, 6, 8)).astype(float)
    frames = np.zeros((count, 135, 160), np.uint8)
    for t in range(count):
        key, part = divmod(t, 5)
        coarse = keys[key] + (keys[key + 1] - keys[key]) * part / 5
        frames[t, :90] = np.kron(coarse, np.ones((15, 20)))
    return frames


def test_a_still_or_flat_clip_gives_no_evidence() -> None:
    assert not fingerprint(still()).any()
    picture = np.broadcast_to(RNG.integers(16, 236, (135, 160), np.uint8), (160, 135, 160))
    assert not fingerprint(picture).any()


def test_noise_of_a_coder_on_a_still_gives_no_evidence() -> None:
    noisy = still() + RNG.integers(-2, 3, (160, 135, 160)).astype(np.int8).astype(np.uint8)
    assert not fingerprint(noisy).any()


def test_every_changing_frame_has_a_hash_and_the_hash_marks_it() -> None:
    hashes = fingerprint(wandering(160))
    assert (hashes >> np.uint64(63)).all()
    assert len(np.unique(hashes[:WHOLE_SLOTS])) > 140


def test_the_hashes_go_with_the_frames_wherever_a_clip_begins() -> None:
    film = wandering(233)
    assert (fingerprint(film[:160])[73:WHOLE_SLOTS] == fingerprint(film[73:])[: WHOLE_SLOTS - 73]).all()


def test_bars_and_what_is_mirrored_in_them_are_not_looked_at() -> None:
    film = wandering(160)
    beside = film.copy()
    beside[:, :90, :20] = film[:, :90, 20:40][:, :, ::-1]
    beside[:, :90, 140:] = 16
    assert (fingerprint(film) == fingerprint(beside)).all()
    box = ContentBox(20, 0, 120, 90)
    assert (fingerprint(film) == fingerprint(film, box)).all()


def test_brightness_and_contrast_change_few_bits() -> None:
    film = wandering(160)
    other = (film * 0.8 + 30).astype(np.uint8)
    assert np.bitwise_count(fingerprint(film) ^ fingerprint(other)).mean() < 2


def test_other_footage_has_other_bits() -> None:
    differ = np.bitwise_count(fingerprint(wandering(160)) ^ fingerprint(wandering(160, seed=1)))
    assert 25 < differ.mean() < 38


@pytest.mark.parametrize(
    ("count", "there"), [(0, 0), (1, 0), (10, 0), (11, 1), (100, 90), (160, 150), (300, 150)]
)
def test_shorter_and_longer_clips_have_fingerprints_of_the_same_length(count: int, there: int) -> None:
    hashes = fingerprint(wandering(max(count, 1))[:count])
    assert hashes.shape == (SLOTS,)
    assert np.count_nonzero(hashes[:WHOLE_SLOTS]) == there


def test_a_clip_at_another_rate_is_looked_at_ten_times_a_second() -> None:
    film = wandering(160)
    assert (fingerprint(np.repeat(film, 2, axis=0), fps=20) == fingerprint(film)).all()
