"""Folds of videos: what is tested is never of a video that was learned from."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filters.labels import Labelled
from shards.errors import UserError

MIN_FOLDS = 3
"""One to learn from, one to stop by and calibrate on, one to test on."""

_TRIES = 50


def make_folds(clips: Sequence[Labelled], folds: int, seed: int, where: str) -> npt.NDArray[np.intp]:
    """The fold of each clip, 0 to K - 1; all clips of a video are in one fold, both classes in each.

    K is `folds`, or as many as there can be. Videos with no good and no bad clip are dealt out by a
    hash: they are only tested on.

    Raises:
        UserError: the labels are of too few videos for three folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    decided = np.array([clip.good is not None for clip in clips])
    good = np.array([bool(clip.good) for clip in clips])
    videos = np.array([clip.video_id for clip in clips])
    with_class = {name: len(set(videos[decided & mask])) for name, mask in (("good", good), ("bad", ~good))}
    for count in range(min(folds, *with_class.values()), MIN_FOLDS - 1, -1):
        for attempt in range(_TRIES):
            split = StratifiedGroupKFold(count, shuffle=True, random_state=_state(seed, attempt))
            fold_of: dict[str, int] = {}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of few members of a class; what matters is checked below
                parts = list(split.split(good[decided], good[decided], videos[decided]))
            for number, (_, test) in enumerate(parts):
                fold_of |= dict.fromkeys(videos[decided][test].tolist(), number)
            found = np.array([fold_of.get(video, _by_hash(video, count)) for video in videos.tolist()])
            if all(
                (decided & mask & (found == number)).any()
                for number in range(count)
                for mask in (good, ~good)
            ):
                return found
    raise UserError(
        f"{where}: the labels are of too few videos: {with_class['good']} have good clips and "
        f"{with_class['bad']} bad ones; {MIN_FOLDS} of each at least are needed, "
        "since a video is never learned from and tested on"
    )


def hash_videos(video_ids: Sequence[str]) -> list[str]:
    """By what a card names the videos that were learned from: sorted hashes, which tell of no video."""
    return sorted({hashlib.sha256(video_id.encode()).hexdigest()[:16] for video_id in video_ids})


def _state(seed: int, attempt: int) -> int:
    """Scikit-learn takes 32 bits."""
    return int(hashlib.sha256(f"folds:{seed}:{attempt}".encode()).hexdigest()[:8], 16)


def _by_hash(video_id: str, folds: int) -> int:
    return int(hashlib.sha256(b"fold:" + video_id.encode()).hexdigest()[:8], 16) % folds
