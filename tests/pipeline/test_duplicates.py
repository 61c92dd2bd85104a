"""Planted copies of real videos, and what must never be taken for one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import ClipFrames, load_scorers
from filters.fingerprint import FRAMES, INNER_STEP_FRAMES, SLOTS, WHOLE_SLOTS, Hashes, unpack
from pipeline.build import books_of, curate, discover, ingest
from pipeline.config import BuildConfig, load_config
from pipeline.cut import cut
from pipeline.duplicates import BUCKET_WIDTH, Matches, find_matches
from pipeline.engine.child import OneChild
from pipeline.first_of_group import best_first, duplicates
from pipeline.frame import FrameSettings, geometry
from pipeline.probe import probe
from pipeline.show import show
from shards.codec import decode_clip, encode_clip
from shards.errors import SettingError, UserError
from shards.keys import clip_key, split_of
from shards.store import Store
from tests.quiet import Quiet

EXAMPLES = Path(__file__).parents[2] / "examples" / "gameplay"
MIRRORED = (
    "split=3[a][b][c];[a]crop=80:ih:0:0,hflip[l];[c]crop=80:ih:iw-80:0,hflip[r];[l][b][r]hstack=inputs=3"
)
KINDS: dict[str, tuple[str, list[str], float]] = {
    "encoded": ("null", ["-crf", "35"], 0.0),
    "small": ("scale=320:-2", ["-crf", "28"], 0.0),
    "shifted": ("null", ["-crf", "28"], 7.3),
    "black": ("pad=iw*4/3:ih:(ow-iw)/2:0", ["-crf", "28"], 0.0),
    "mirrored": (MIRRORED, ["-crf", "28"], 0.0),
    "border": ("scale=576:324,pad=640:360:32:18:color=0x305090", ["-crf", "28"], 0.0),
}


@cache
def measured(video: Path) -> tuple[list[int], Hashes]:
    """First frame of each clip, and the clips' fingerprints."""
    found = probe(video)
    (scorer,) = load_scorers(("fingerprint",))
    firsts, fingerprints = [], []
    for clip in cut(video, found, FrameSettings()):
        seen = ClipFrames(decode_clip(encode_clip(clip.frames).mp4), geometry(found, "pad").box, 10)
        value = scorer.measure(seen)["fingerprint"]
        assert isinstance(value, bytes)
        firsts.append(clip.first_frame)
        fingerprints.append(value)
    return firsts, unpack(fingerprints)


def compare(*videos: Path) -> tuple[Matches, list[tuple[int, int]]]:
    """The matches among videos' clips, and the (video, first frame) of each row."""
    rows, fingerprints = [], []
    for number, video in enumerate(videos):
        firsts, hashes = measured(video)
        rows += [(number, first) for first in firsts]
        fingerprints.append(hashes)
    numbers, starts = np.array(rows, np.int64).T
    return find_matches(np.concatenate(fingerprints), numbers, starts), rows


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """planted("coinrun_hard_run", "small") -> the path of that copy."""
    folder = tmp_path_factory.mktemp("planted")

    def make(name: str, kind: str) -> Path:
        path = folder / f"{name}-{kind}.mp4"
        if not path.exists():
            picture, coder, start_s = KINDS[kind]
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-ss", str(start_s)]
            command += ["-i", str(EXAMPLES / f"{name}.mp4"), "-an", "-filter_complex", picture]
            subprocess.run([*command, "-preset", "ultrafast", *coder, "-t", "50", str(path)], check=True)
        return path

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["coinrun_hard_run", "jumper_bunny"])
def test_a_copy_is_found_clip_by_clip(name: str, kind: str, planted: Callable[[str, str], Path]) -> None:
    matches, rows = compare(EXAMPLES / f"{name}.mp4", planted(name, kind))
    later = round(KINDS[kind][2] * 10)
    seen: dict[int, set[int]] = {}
    for a, b, shift, start, stop in zip(*vars(matches).values(), strict=True):
        (first_video, first), (second_video, second) = rows[a], rows[b]
        assert (first_video, second_video) == (0, 1)
        assert abs(second + later - first - shift) <= 1
        assert 0 <= start < stop <= FRAMES
        assert start + shift >= 0
        assert stop + shift <= FRAMES
        seen.setdefault(b, set()).update(range(start, stop))
    copies = [row for row, (video, _) in enumerate(rows) if video == 1]
    assert len(copies) == 3
    assert all(len(seen[copy]) > FRAMES / 2 for copy in copies)


def test_plays_of_one_game_are_not_one_another_s_copies() -> None:
    plays = sorted(EXAMPLES.glob("*.mp4"))
    assert len(plays) == 10
    matches, _ = compare(*plays)
    assert not len(matches)


def walk(length: int, seed: int) -> Hashes:
    """Hashes of footage, one a frame: a few bits change from each to the next."""
    chance = np.random.default_rng(seed)
    flips = chance.random((length, 63)) < 0.1
    flips[0] = chance.random(63) < 0.5
    bits = np.logical_xor.accumulate(flips, axis=0)
    marked = np.concatenate([bits, np.ones((length, 1), bool)], axis=1)
    packed: Hashes = np.packbits(marked, axis=1, bitorder="little").view("<u8")[:, 0]
    return packed


def clip_of(film: Hashes, first: int) -> Hashes:
    whole = film[first : first + WHOLE_SLOTS]
    inner = walk(SLOTS - WHOLE_SLOTS, int(whole[0] % 1000))
    return np.concatenate([whole, inner])


def noisy(hashes: Hashes, bits: float, seed: int) -> Hashes:
    flips = np.random.default_rng(seed).random((*hashes.shape, 64)) < bits / 63
    flips[..., 63] = False
    noise = np.packbits(flips, axis=-1, bitorder="little").view("<u8")[..., 0]
    return np.where(hashes != 0, hashes ^ noise, 0)


def pairs(matches: Matches) -> list[tuple[int, int, int]]:
    return list(zip(matches.first.tolist(), matches.second.tolist(), matches.shift.tolist(), strict=True))


def alone(hashes: list[Hashes]) -> Matches:
    """Matches among clips of a video each."""
    return find_matches(np.stack(hashes), np.arange(len(hashes)), np.zeros(len(hashes), np.int64))


@pytest.mark.parametrize("shift", [-110, -73, -1, 0, 1, 37, 73, 110])
def test_footage_is_found_at_any_shift_and_the_shared_frames_are_named(shift: int) -> None:
    film = walk(600, 1)
    matches = alone([clip_of(film, 200), noisy(clip_of(film, 200 + shift), 2.0, 3)])
    assert pairs(matches) == [(0, 1, shift)]
    assert abs(matches.start[0] - max(0, -shift)) <= 3
    assert abs(matches.stop[0] - min(FRAMES, FRAMES - shift)) <= 3


@pytest.mark.parametrize("shift", [0, 37])
def test_a_border_is_looked_through_from_either_side(shift: int) -> None:
    film = walk(600, 1)
    bordered = walk(SLOTS, 2)
    bordered[WHOLE_SLOTS:] = film[200 : 200 + WHOLE_SLOTS : INNER_STEP_FRAMES]
    plain = clip_of(film, 200 - shift)
    assert pairs(alone([plain, bordered])) == [(0, 1, shift)]
    assert pairs(alone([bordered, plain])) == [(0, 1, -shift)]


def test_stills_match_nothing_whatever_little_moves_in_them() -> None:
    still = np.zeros(SLOTS, np.uint64)
    moved = still.copy()
    moved[40:60] = walk(20, 5)
    assert not len(alone([still, still, moved, moved.copy()]))


def test_what_repeats_itself_throughout_matches_nothing() -> None:
    loop = np.resize(walk(20, 7), SLOTS)
    assert not len(alone([loop, loop.copy()]))


def test_another_clip_of_two_videos_needs_less_where_one_was_found() -> None:
    film = walk(160, 1)
    scarce = np.zeros(SLOTS, np.uint64)
    scarce[70:80] = walk(10, 8)
    both = np.stack([clip_of(film, 0), scarce] * 2)
    starts = np.array([0, 160, 0, 160])
    assert pairs(find_matches(both, np.array([0, 0, 1, 1]), starts)) == [(0, 2, 0), (1, 3, 0)]
    assert pairs(find_matches(both, np.array([0, 1, 2, 3]), starts)) == [(0, 2, 0)]


def test_an_over_full_band_still_proposes_its_neighbours() -> None:
    film = walk(200, 1)
    many = [noisy(clip_of(film, 0), 1.0, seed) for seed in range(3 * BUCKET_WIDTH)]
    found = pairs(alone(many))
    assert {(row, row + 1, 0) for row in range(len(many) - 1)} <= set(found)


def test_nothing_is_no_trouble() -> None:
    assert not len(find_matches(np.zeros((0, SLOTS), np.uint64), np.zeros(0, int), np.zeros(0, int)))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(8)))
def test_the_order_of_rows_is_of_no_account(order: list[int]) -> None:
    film, other = walk(700, 1), walk(400, 2)
    firsts = [
        (film, 0),
        (film, 73),
        (film, 160),
        (film, 320),
        (other, 0),
        (other, 40),
        (other, 200),
        (film, 233),
    ]
    fingerprints = np.stack([noisy(clip_of(f, first), 2.0, n) for n, (f, first) in enumerate(firsts)])
    known = {frozenset(pair[:2]) for pair in pairs(alone(list(fingerprints)))}
    assert frozenset((0, 1)) in known
    shuffled = alone([fingerprints[row] for row in order])
    assert {frozenset(order[row] for row in pair[:2]) for pair in pairs(shuffled)} == known


SHARED = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(-150, 150)).filter(
        lambda pair: pair[0] < pair[1]
    ),
    unique_by=lambda pair: pair[:2],
    max_size=20,
)


def matches_of(shared: list[tuple[int, int, int]]) -> Matches:
    """Whole overlaps at these shifts."""
    first, second, shift = np.array(shared, np.int64).reshape(-1, 3).T
    return Matches(first, second, shift, np.maximum(0, -shift), np.minimum(FRAMES, FRAMES - shift))


@given(
    SHARED, st.permutations(range(10)), st.lists(st.sampled_from(["train", "val"]), min_size=10, max_size=10)
)
def test_every_duplicate_has_a_kept_clip_and_kept_clips_are_no_duplicates(
    shared: list[tuple[int, int, int]], order: list[int], splits: list[str]
) -> None:
    order = sorted(order, key=lambda row: splits[row] == "train")
    frames = np.full(10, FRAMES)
    found = duplicates(matches_of(shared), order, splits, frames)
    kept = set(range(10)) - set(found)
    assert set(found.values()) <= kept
    linked = {frozenset(pair[:2]) for pair in shared}
    for row, other in found.items():
        assert frozenset((row, other)) in linked
        assert order.index(other) < order.index(row)
    for one, other, shift in shared:
        if {one, other} <= kept:
            assert splits[one] == splits[other]
            assert FRAMES - abs(shift) <= FRAMES / 2
    assert duplicates(matches_of(shared[::-1]), order, splits, frames) == found


def test_a_cut_across_two_kept_clips_joins_the_one_it_shares_more_with() -> None:
    across = matches_of([(0, 2, 73), (1, 2, -87)])
    splits, frames = ["train"] * 3, np.full(3, FRAMES)
    assert duplicates(across, [0, 1, 2], splits, frames) == {2: 0}
    # Consecutive clips are never merged by what lies across both.
    assert duplicates(across, [2, 0, 1], splits, frames) == {0: 2}


def test_less_than_half_is_no_duplicate_but_between_splits() -> None:
    frames = np.full(2, FRAMES)
    assert duplicates(matches_of([(0, 1, 100)]), [0, 1], ["train", "train"], frames) == {}
    assert duplicates(matches_of([(0, 1, 100)]), [1, 0], ["train", "val"], frames) == {0: 1}


CLIPS = pa.table(
    {
        "key": ["a_00000000", "b_00000000", "c_00000000"],
        "video_id": ["a", "b", "c"],
        "unique_frames": [160, 100, 160],
        "size": [1, 2, 3],
    }
)
VIDEOS = pa.table({"video_id": ["c", "b", "a"], "width": [320, 640, 320], "height": [180, 360, 180]})


@pytest.mark.parametrize(
    ("prefer", "order"),
    [
        (("width * height DESC", "unique_frames DESC", "size DESC"), [1, 2, 0]),
        (("unique_frames DESC",), [0, 2, 1]),
        ((), [0, 1, 2]),
    ],
)
def test_the_preference_is_an_sql_ordering(prefer: tuple[str, ...], order: list[int]) -> None:
    assert best_first(CLIPS, VIDEOS, prefer) == order


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ("widht DESC", r"^curate\.prefer: .*widht.*; give terms of an SQL ORDER BY on key, .*width, height"),
        ("size; DROP TABLE clips", "Parser Error"),
        ("(SELECT count(*) FROM read_csv('/etc/passwd'))", "Permission Error|disabled"),
        ("size) FROM clips; DROP VIEW clips; SELECT (1", "Parser Error"),
        ("random()", "leave chance out"),
    ],
)
def test_a_preference_that_is_no_ordering_is_one_line_that_helps(term: str, said: str) -> None:
    many = pa.concat_tables([CLIPS] * 10)
    with pytest.raises(SettingError, match=said) as caught:
        best_first(many, VIDEOS, (term,))
    assert "\n" not in str(caught.value)


def build_config(path: Path, folder: Path, **curate: object) -> BuildConfig:
    settings = {
        "dataset": str(path / "dataset"),
        "sources": [{"kind": "files", "path": str(folder)}],
        "scorers": ["motion", "fingerprint"],
        "curate": {"rules": {"duplicate": "first_of_group"}, "splits": {"train": 1.0}} | curate,
    }
    return BuildConfig.model_validate(settings)


def test_a_build_keeps_one_of_each_group_as_preferred(
    tmp_path: Path, planted: Callable[[str, str], Path]
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(planted("coinrun_hard_run", "small"), folder / "small.mp4")
    shutil.copy(planted("coinrun_hard_run", "encoded"), folder / "encoded.mp4")
    config = build_config(tmp_path, folder)
    discover(config, Quiet())
    ingest(config, OneChild(), Quiet())
    store = Store(config.dataset)
    (small,) = store_ids(config, width=320)
    (large,) = store_ids(config, width=640)

    clips = curate(config).clips
    assert decisions(clips, large) == ["kept"] * 3
    assert decisions(clips, small) == ["dropped:duplicate"] * 3
    assert "fingerprint" not in clips.column_names
    key = clip_key(small, 160)
    assert show(store, key).found.clip["duplicate_of"] == clip_key(large, 160)

    # Another preference.
    smaller = config.curate.model_copy(update={"prefer": ("width",)})
    clips = curate(config.model_copy(update={"curate": smaller})).clips
    assert decisions(clips, small) == ["kept"] * 3
    assert decisions(clips, large) == ["dropped:duplicate"] * 3

    # Only what survives the rules before it is chosen from.
    before = {"late": f"video_id <> '{large}' OR start_s < 16"} | config.curate.rules
    clips = curate(
        config.model_copy(update={"curate": config.curate.model_copy(update={"rules": before})})
    ).clips
    assert decisions(clips, large) == ["kept", "dropped:late", "dropped:late"]
    assert decisions(clips, small) == ["dropped:duplicate", "kept", "kept"]

    # Validation keeps what it has, whatever is preferred.
    shares = next(
        {"train": 1 - share, "val": share}
        for share in np.linspace(0.01, 0.99, 99).tolist()
        if {split_of(v, {"train": 1 - share, "val": share}) for v in (small, large)} == {"train", "val"}
    )
    split = config.curate.model_copy(update={"splits": shares})
    in_val = small if split_of(small, shares) == "val" else large
    for prefer in (("width",), ("width DESC",)):
        one = split.model_copy(update={"prefer": prefer})
        clips = curate(config.model_copy(update={"curate": one})).clips
        assert decisions(clips, in_val) == ["kept"] * 3
        assert clips["decision"].to_pylist().count("dropped:duplicate") == 3

    # A fingerprint that is gone is one line.
    for path in Path(config.dataset).glob("scores/fingerprint-*/*/*"):
        path.unlink()
    for path in Path(config.dataset).glob("scores/fingerprint-*/*.parquet"):
        path.unlink()
    with pytest.raises(SettingError, match=r"clip .* has no fingerprint; `genieset ingest` measures it"):
        curate(config)


def store_ids(config: BuildConfig, width: int) -> list[str]:
    rows = books_of(config).catalog().to_pylist()
    return [row["video_id"] for row in rows if row["width"] == width]


def decisions(clips: pa.Table, video_id: str) -> list[str]:
    rows = [row for row in clips.sort_by("key").to_pylist() if row["video_id"] == video_id]
    return [row["decision"] for row in rows]


def test_some_clips_match_as_they_did_among_all() -> None:
    film = walk(400, 5)
    clips = np.stack([clip_of(film, first) for first in (0, 0, 30, 60)])
    matches = find_matches(clips, np.arange(4), np.zeros(4, np.int64))
    assert {(0, 1), (1, 2), (1, 3)} <= set(zip(matches.first.tolist(), matches.second.tolist(), strict=True))
    left = matches.among(np.array([-1, 0, -1, 1]))
    assert (left.first.tolist(), left.second.tolist(), left.shift.tolist()) == ([0], [1], [60])


def test_the_rule_needs_its_scorer(write_config: Callable[..., Path]) -> None:
    path = write_config([{"kind": "files", "path": "."}], curate={"rules": {"duplicate": "first_of_group"}})
    with pytest.raises(
        UserError, match=r"curate: rule duplicate is first_of_group, .*; add fingerprint to scorers$"
    ):
        load_config(path)
