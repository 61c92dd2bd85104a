"""Labels: what counts, and what each mistake is told as."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.classifier.folds import make_folds
from filters.labels import Labelled, check_enough, count_labels, label_clips, read_labels, set_lost_aside
from shards.errors import UserError
from shards.keys import clip_key

KEYS = {"v": [clip_key("v", 160 * n) for n in range(3)], "w": [clip_key("w", 0)]}
FIRST = KEYS["v"][0]


def keys_of(video_id: str) -> list[str]:
    return KEYS.get(video_id, [])


def row(**fields: object) -> dict[str, object]:
    return {"key": FIRST, "label": 5, "labeller": "ann", "at": "2026-01-02T03:04:05Z"} | fields


def write(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path


def labels_of(tmp_path: Path, *rows: object) -> dict[str, float]:
    return {clip.key: clip.label for clip in label_clips(read_labels(write(tmp_path, *rows)), keys_of)}


def test_a_video_s_label_is_that_of_all_its_clips_but_those_with_their_own(tmp_path: Path) -> None:
    found = labels_of(tmp_path, row(label=1), row(key=None, video_id="v", label=5, at="2026-02-02"))
    assert found == {FIRST: 1.0, KEYS["v"][1]: 5.0, KEYS["v"][2]: 5.0}


def test_the_last_word_of_a_labeller_counts(tmp_path: Path) -> None:
    late, early = row(label=1, at="2026-01-03"), row(label=5, at="2026-01-02T23:59:59+00:00")
    assert labels_of(tmp_path, late, early) == {FIRST: 1.0}


@pytest.mark.parametrize(
    ("given", "median", "good", "whole"),
    [
        ([5, 5, 1], 5.0, True, 5),
        ([1, 5], 3.0, None, 3),
        ([4, 5], 4.5, None, 4),
        ([1, 2], 1.5, None, 2),
        ([1, 1], 1.0, False, 1),
    ],
)
def test_the_median_of_the_labellers_counts(
    tmp_path: Path, given: list[int], median: float, good: bool | None, whole: int
) -> None:
    rows = [row(label=label, labeller=f"p{number}") for number, label in enumerate(given)]
    (clip,) = label_clips(read_labels(write(tmp_path, *rows)), keys_of)
    assert (clip.label, clip.good, clip.whole_label) == (median, good, whole)
    assert count_labels([clip])[str(whole)] == 1


def test_parquet_and_another_order_are_the_same_labels(tmp_path: Path) -> None:
    rows = [row(label=2, note="dark"), row(key=KEYS["w"][0], label=5)]
    lines = read_labels(write(tmp_path, *rows))
    path = tmp_path / "labels.parquet"
    table = pa.Table.from_pylist([r | {"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)} for r in rows[::-1]])
    pq.write_table(table, path)
    assert read_labels(path).hash == lines.hash
    assert read_labels(write(tmp_path, row(label=3), rows[1])).hash != lines.hash


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), "{broken"], "line 2: is not JSON; each line is one object"),
        ([row(), "", row(label=7)], r"line 3: label is 7; give a whole number from 1 \(bad\) to 5"),
        ([row(label="five")], "line 1: label is 'five', not a number"),
        ([row(label=True)], "line 1: label is True, not a number"),
        ([row(label=4.5)], r"line 1: label is 4\.5; give a whole number"),
        (["[1]"], "line 1: is no object"),
        ([{"label": 5}], "line 1: says of nothing; give key"),
        ([row(labels=5)], "line 1: 'labels' is no field of a label; there are key, video_id, label"),
        ([row(video_id="w")], f"line 1: clip {FIRST} is not of video 'w'"),
        ([row(key="no key")], "line 1: not a clip key: 'no key'"),
        ([row(labeller=None)], "line 1: labeller is missing"),
        ([row(at="yesterday")], "line 1: at is 'yesterday'; give a time as 2026"),
        ([row(at="0001-01-01T00:00:00+10:00")], "line 1: at is '0001-01-01T00:00:00.10:00'; give a time"),
        ([row(), "[" * 100_000], "line 2: is not JSON"),
        ([row(label=1), row()], "line 1 and line 2: ann says 1 and 5 of the same at the same time"),
        ([], "holds no label; `genieset label DATASET` makes some"),
        (
            [row(key=clip_key("v", 7))],
            f"line 1: no clip 'v_00000007' is in the dataset; video v has 3, .*{FIRST}",
        ),
        ([row(key=None, video_id="x")], "line 1: no video 'x' with clips is in the dataset"),
    ],
)
def test_each_mistake_is_one_line_that_names_it(tmp_path: Path, rows: list[object], message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        label_clips(read_labels(write(tmp_path, *rows)), keys_of)
    assert str(told.value).startswith(f"{tmp_path / 'labels.jsonl'}: ")
    assert "\n" not in str(told.value)


def test_no_file_and_a_damaged_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: cannot be read \(No such file"):
        read_labels(tmp_path / "nowhere")
    (tmp_path / "damaged").write_bytes(b"PAR1 and nothing more PAR1")
    with pytest.raises(UserError, match="damaged: is damaged"):
        read_labels(tmp_path / "damaged")


@pytest.mark.parametrize(
    "zone",
    [pa.timestamp("us", "Nowhere/Atlantis"), pa.timestamp("ns", "Nowhere/Atlantis")],
)
def test_a_parquet_file_of_an_unknown_time_zone_is_told(tmp_path: Path, zone: pa.DataType) -> None:
    path = tmp_path / "labels.parquet"
    at = pa.array([1_767_323_045_000_000], pa.int64()).cast(zone)
    pq.write_table(pa.Table.from_pylist([row(at=None)]).drop("at").append_column("at", at), path)
    with pytest.raises(UserError, match=r"labels\.parquet: is damaged or no file of labels \(") as told:
        read_labels(path)
    assert "\n" not in str(told.value)


def test_a_time_in_nanoseconds_is_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    at = pa.array([1_767_323_045_000_000_001], pa.timestamp("ns", "UTC"))
    pq.write_table(pa.Table.from_pylist([row(at=None)]).drop("at").append_column("at", at), path)
    (found,) = read_labels(path).rows
    assert found.at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_labels_of_lost_videos_are_set_aside_and_of_unknown_ones_told(tmp_path: Path) -> None:
    lost = row(key=clip_key("gone", 0))
    file = read_labels(write(tmp_path, row(), lost, lost, row(key=None, video_id="gone")))
    kept, aside = set_lost_aside(file, lambda video_id: video_id == "gone")
    assert (aside.labels, aside.videos) == (3, 1)
    assert [clip.key for clip in label_clips(kept, keys_of)] == [FIRST]
    with pytest.raises(UserError, match="line 2: no video 'gone' with clips is in the dataset"):
        label_clips(set_lost_aside(file, lambda _: False)[0], keys_of)
    with pytest.raises(UserError, match="every label is of a video whose clips are no longer in the dataset"):
        set_lost_aside(read_labels(write(tmp_path, lost)), lambda _: True)


def clips(video: str, label: float, count: int) -> list[Labelled]:
    return [Labelled(clip_key(video, n), video, label) for n in range(count)]


@pytest.mark.parametrize(
    ("labelled", "message"),
    [
        (clips("a", 5, 30), r"L: no clip is labelled bad \(1\); a classifier learns from both, 10 clips"),
        (clips("a", 1, 30) + clips("b", 3, 9), r"L: no clip is labelled good \(5\)"),
        (clips("a", 5, 30) + clips("b", 1, 9), r"L: 9 clips are labelled bad \(1\); 10 at least are needed"),
    ],
)
def test_too_few_labels_of_a_class_are_told(labelled: list[Labelled], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_enough(labelled, "L")


def test_labels_of_too_few_videos_cannot_be_split() -> None:
    labelled = clips("a", 5, 20) + clips("b", 5, 5) + clips("c", 1, 20) + clips("d", 1, 5) + clips("e", 1, 5)
    with pytest.raises(UserError, match="L: the labels are of too few videos: 2 have good clips and 3 bad"):
        make_folds(labelled, 5, 0, "L")
