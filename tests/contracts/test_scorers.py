"""Every scorer in `filters/` keeps the promise; a new one is found by itself."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from filters.base import (
    ClipFrames,
    Scorer,
    load_scorers,
    measure,
    measure_many,
    score_names,
    scorer_folder,
    scorer_names,
    wide_scorers,
)
from pipeline.engine import all_parts
from pipeline.frame import FrameSettings
from pipeline.ingest import MeasureUnit, Unit, ingest, measure_pack, score_name
from pipeline.sources.files import FilesSource
from shards.codec import Frames
from shards.errors import UserError
from shards.records import ContentBox
from shards.store import Store
from shards.wide import WideFrame

RNG = np.random.default_rng(0)
CLIPS: dict[str, Frames] = {
    "noise": RNG.integers(0, 256, (160, 135, 160), np.uint8),
    "black": np.full((160, 135, 160), 16, np.uint8),
    "white": np.full((160, 135, 160), 235, np.uint8),
    "still": np.broadcast_to(RNG.integers(0, 256, (135, 160), np.uint8), (160, 135, 160)),
    "short": RNG.integers(0, 256, (3, 135, 160), np.uint8),
    "single": RNG.integers(0, 256, (1, 135, 160), np.uint8),
}
BOXES = [ContentBox(0, 0, 160, 90), ContentBox(34, 0, 90, 90), ContentBox(40, 44, 80, 2)]


def seen(clip: str, box: ContentBox = BOXES[0]) -> ClipFrames:
    """A clip of these frames, with wide frames that show about the same in the box's shape."""
    frames = CLIPS[clip].copy()
    frames.flags.writeable = False
    wide = []
    for place in range(0, len(frames), 40):
        x, y, width, height = box
        luma = Image.fromarray(frames[place, y : y + height, x : x + width])
        jpeg = io.BytesIO()
        luma.resize((4 * width, 4 * height)).convert("RGB").save(jpeg, "JPEG")
        wide.append(WideFrame(place, jpeg.getvalue()))
    return ClipFrames(frames, box, 10, wide)


@pytest.fixture(params=[*scorer_names(), "quality"])
def scorer(
    request: pytest.FixtureRequest,
    untrained: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Scorer:
    """One that takes an argument has to be given one here."""
    called = request.param
    if called == "quality":
        folder = tmp_path_factory.mktemp("classifiers")
        called = f"quality@{folder / untrained(folder)}"
    (found,) = load_scorers((called,))
    return found


def test_there_are_scorers() -> None:
    assert {"motion", "cuts"} <= set(scorer_names())


def test_it_is_named_after_its_file_and_says_what_it_measures(scorer: Scorer) -> None:
    assert type(scorer).__module__ == f"filters.{scorer.name}"
    assert type(scorer).__doc__
    assert scorer.version >= 1
    which = scorer.version if scorer.argument is None else Path(scorer.argument).name
    assert scorer_folder(scorer.called) == f"scores/{scorer.name}-{which}"


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("box", BOXES)
def test_it_returns_what_it_declares(scorer: Scorer, clip: str, box: ContentBox) -> None:
    scores = measure([scorer], seen(clip, box))[scorer.called]
    assert scores.keys() == scorer.ranges.keys() | scorer.blobs.keys()
    assert all(math.isfinite(scores[name]) for name in scorer.ranges)
    assert all(len(scores[name]) == size for name, size in scorer.blobs.items())


@pytest.mark.parametrize("clip", CLIPS)
def test_the_same_clip_gets_the_same_scores_and_stays_as_it_is(scorer: Scorer, clip: str) -> None:
    (again,) = load_scorers.__wrapped__((scorer.called,))
    assert measure([scorer], seen(clip)) == measure([scorer], seen(clip)) == measure([again], seen(clip))


@pytest.mark.parametrize("box", BOXES[:2])
def test_several_clips_get_the_scores_of_each(scorer: Scorer, box: ContentBox) -> None:
    clips = [seen(clip, box) for clip in CLIPS]
    assert measure_many([scorer], clips) == [measure([scorer], clip) for clip in clips]


@pytest.fixture(scope="module")
def measured_while_cut(
    make_video: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, str]:
    """The pack of two clips, measured by every scorer while it was cut."""
    path = make_video("test.mp4", "testsrc2=size=480x360:rate=15:duration=33")
    folder = tmp_path_factory.mktemp("dataset")
    source = FilesSource(path=str(path))
    (found,) = source.discover(pytest.fail)
    frame, names = FrameSettings(wide=True), tuple(scorer_names())
    ended = all_parts(ingest(Unit(str(folder), found.video, source, frame, names, "test")))
    assert ended.pack
    return Store(folder), ended.pack


@pytest.mark.parametrize("called", scorer_names())
def test_measured_from_its_pack_a_clip_gets_the_same_scores(
    called: str, measured_while_cut: tuple[Store, str]
) -> None:
    store, pack = measured_while_cut
    name = score_name(called, pack)
    before = store.read(name)
    store.remove(name)
    assert measure_pack(MeasureUnit(store.url, pack, (called,))) == 2
    assert store.read(name) == before


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_the_scores_of_a_pack_are_the_same_bytes_whatever_is_measured_at_once(
    batch: int, measured_while_cut: tuple[Store, str], untrained: Callable[..., str], tmp_path: Path
) -> None:
    store, pack = measured_while_cut
    names = (*scorer_names(), f"quality@{tmp_path / untrained(tmp_path)}")
    found = []
    for at_once in (1, batch):
        assert measure_pack(MeasureUnit(store.url, pack, names, batch=at_once)) == 2
        found.append([store.read(score_name(name, pack)) for name in names])
    assert found[0] == found[1]


def test_a_device_that_is_not_there_is_one_line(untrained: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--device cuda:7: is not on this machine"):
        load_scorers((f"quality@{tmp_path / untrained(tmp_path)}",), "cuda:7")


def test_what_looks_at_wide_frames_says_so() -> None:
    assert wide_scorers(scorer_names()) == ["faces", "text_area"]


def test_no_two_scorers_share_a_score() -> None:
    names = [name for scorer in (*scorer_names(), "quality@x") for name in score_names(scorer)]
    assert len(set(names)) == len(names)


def test_a_score_that_is_not_as_declared_is_a_bug_with_a_name() -> None:
    (motion,) = load_scorers(("motion",))

    class Wrong(type(motion)):  # type: ignore[misc]
        ranges = {"motion": (0.5, 1.0)}  # noqa: RUF012

    with pytest.raises(ValueError, match=r"scorer motion: motion is 0\.0, outside 0\.5 to 1\.0"):
        measure([Wrong()], ClipFrames(CLIPS["black"], ContentBox(0, 0, 160, 90), 10))


def test_a_blob_that_is_not_as_declared_is_a_bug_with_a_name() -> None:
    (fingerprint,) = load_scorers(("fingerprint",))

    class Wrong(type(fingerprint)):  # type: ignore[misc]
        blobs = {"fingerprint": 8}  # noqa: RUF012

    with pytest.raises(ValueError, match=r"scorer fingerprint: fingerprint has 1600 bytes, declares 8"):
        measure([Wrong()], ClipFrames(CLIPS["black"], ContentBox(0, 0, 160, 90), 10))


def test_an_unknown_scorer_is_one_helpful_line() -> None:
    with pytest.raises(UserError, match=r"no scorer 'motoin'; there are .*motion"):
        load_scorers(("motoin",))


@pytest.mark.parametrize(
    ("called", "message"),
    [
        ("quality", "quality needs a trained classifier's folder; call it quality@"),
        ("quality@", "quality needs a trained classifier's folder; call it quality@"),
        ("motion@x", "motion takes nothing after @; call it motion"),
    ],
)
def test_an_argument_is_given_to_who_takes_one(called: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_scorers((called,))


def test_where_an_argument_lies_is_of_no_account() -> None:
    for place in ("/a/0123456789ab", "s3://bucket/c/0123456789ab/"):
        assert scorer_folder(f"quality@{place}") == "scores/quality-0123456789ab"
