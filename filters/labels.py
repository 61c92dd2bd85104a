"""Labels: what people said of clips, from a file that anything may have written.

A label file is JSONL (an object a line) or Parquet with

* `key`, a clip, or `video_id`, which stands for all clips of the video;
* `label`: 1 (bad) to 5 (good);
* `labeller`: who said so, and `at`: when, ISO 8601;
* `note`: anything, optional.

A labeller who says something else of a clip later has changed their mind: only the last word counts,
and a word on the clip itself goes before one on its whole video. Of several labellers the median
counts: two who say 5 and 1 make a 3, and a clip between two labels (4.5) is set aside like a 2, 3
or 4. Only what is clearly good (5) or clearly bad (1) teaches (Bruce et al. 2024, appendix B.1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import UserError
from shards.keys import parse_key

BAD, GOOD = 1, 5
MIN_CLIPS = 10
"""So many good and so many bad clips are needed, or nothing can be learned and tested."""

_PARQUET = b"PAR1"
_COLUMNS = ("key", "video_id", "label", "labeller", "at", "note")


@dataclass(frozen=True)
class LabelRow:
    """A row of a label file.

    Attributes:
        place: where it stands in the file, for messages: `line 3`.
        key: a clip; None if `video_id` names a whole video.
        label: 1 to 5.
    """

    place: str
    key: str | None
    video_id: str
    label: int
    labeller: str
    at: datetime


@dataclass(frozen=True)
class LabelFile:
    """The rows of a label file, every one of them valid in itself."""

    path: Path
    rows: tuple[LabelRow, ...]

    @property
    def hash(self) -> str:
        """SHA-256 of the rows, whatever their order and the format of the file; notes are left out."""
        rows = sorted(
            json.dumps(asdict(row) | {"place": None, "at": row.at.isoformat()}, sort_keys=True)
            for row in self.rows
        )
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@dataclass(frozen=True)
class Labelled:
    """A clip and the median of its labels, 1 to 5 in halves."""

    key: str
    video_id: str
    label: float

    @property
    def good(self) -> bool | None:
        """Whether it is good or bad; None if it is set aside."""
        return self.label == GOOD if self.label in (BAD, GOOD) else None

    @property
    def whole_label(self) -> int:
        """The label as a whole number; one that lies between two counts as the one nearer to 3."""
        return int(self.label) if self.label > (BAD + GOOD) / 2 else -int(-self.label // 1)


def read_labels(path: Path) -> LabelFile:
    """Read a label file.

    Raises:
        UserError: there is no such file, it is neither JSONL nor Parquet, or a row is wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give a file of labels, JSONL or Parquet"
        ) from None
    rows = _parquet_rows(path, data) if data.startswith(_PARQUET) else _json_rows(path, data)
    labels = tuple(_label_row(path, place, row) for place, row in rows)
    if not labels:
        raise UserError(f"{path}: holds no label; `genieset label DATASET` makes some")
    return LabelFile(path, labels)


@dataclass(frozen=True)
class Lost:
    """Labels that are set aside, since their videos are known and have no clips now."""

    labels: int
    videos: int


def set_lost_aside(file: LabelFile, is_lost: Callable[[str], bool]) -> tuple[LabelFile, Lost]:
    """The labels without those of lost videos, and how many those are.

    A title rule or who opts out takes a video's clips away; what was said of the others still counts.

    Args:
        is_lost: whether a video is known, and has no clips.

    Raises:
        UserError: every label is of a lost video.
    """
    lost = {video_id for video_id in {row.video_id for row in file.rows} if is_lost(video_id)}
    rows = tuple(row for row in file.rows if row.video_id not in lost)
    if not rows:
        raise UserError(
            f"{file.path}: every label is of a video whose clips are no longer in the dataset; "
            "label what `genieset status` counts as ingested"
        )
    return LabelFile(file.path, rows), Lost(len(file.rows) - len(rows), len(lost))


def label_clips(file: LabelFile, keys_of: Callable[[str], Collection[str]]) -> tuple[Labelled, ...]:
    """What the labellers together say of each clip, sorted by key.

    Args:
        keys_of: the clips of a video; none for a video that is not there.

    Raises:
        UserError: a row names a clip or a video that is not there, or two rows contradict each other.
    """
    words: dict[str, dict[str, tuple[bool, datetime, int, str]]] = {}
    for row in file.rows:
        keys = keys_of(row.video_id)
        if not keys:
            raise UserError(
                f"{file.path}: {row.place}: no video {row.video_id!r} with clips is in the dataset; "
                "label what `genieset status` counts as ingested"
            )
        if row.key is not None and row.key not in keys:
            raise UserError(
                f"{file.path}: {row.place}: no clip {row.key!r} is in the dataset; video {row.video_id} "
                f"has {len(keys)}, the first is {min(keys)}"
            )
        for key in keys if row.key is None else (row.key,):
            word = (row.key is not None, row.at, row.label, row.place)
            said = words.setdefault(key, {})
            other = said.setdefault(row.labeller, word)
            if other[:2] == word[:2] and other[2] != word[2]:
                raise UserError(
                    f"{file.path}: {other[3]} and {row.place}: {row.labeller} says {other[2]} and "
                    f"{row.label} of the same at the same time; leave one out"
                )
            said[row.labeller] = max(other, word)
    return tuple(
        Labelled(key, parse_key(key)[0], float(median(label for _, _, label, _ in said.values())))
        for key, said in sorted(words.items())
    )


def check_enough(labelled: Sequence[Labelled], where: str) -> None:
    """Whether there is something to learn from.

    Raises:
        UserError: only one of the classes is there, or one has fewer than `MIN_CLIPS` clips.
    """
    counts = {name: sum(clip.good is good for clip in labelled) for name, good in _CLASSES.items()}
    aside = sum(clip.good is None for clip in labelled)
    for name, count in counts.items():
        if not count:
            raise UserError(
                f"{where}: no clip is labelled {name}; a classifier learns from both, "
                f"{MIN_CLIPS} clips of each at least"
                + (f" ({aside} clips with a median of neither are set aside)" if aside else "")
            )
    for name, count in counts.items():
        if count < MIN_CLIPS:
            raise UserError(
                f"{where}: {count} clips are labelled {name}; {MIN_CLIPS} at least are needed of each"
            )


def count_labels(labelled: Iterable[Labelled]) -> dict[str, int]:
    """Label (`1` to `5`) -> number of clips."""
    counts = {str(label): 0 for label in range(BAD, GOOD + 1)}
    for clip in labelled:
        counts[str(clip.whole_label)] += 1
    return counts


_CLASSES = {f"good ({GOOD})": True, f"bad ({BAD})": False}


def _json_rows(path: Path, data: bytes) -> Iterable[tuple[str, Any]]:
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except (ValueError, RecursionError):  # also what is no UTF-8, and ten thousand brackets
            raise UserError(
                f"{path}: line {number}: is not JSON; each line is one object, "
                '{"key": ..., "label": 1 to 5, "labeller": ..., "at": ...}'
            ) from None


def _parquet_rows(path: Path, data: bytes) -> Iterable[tuple[str, Any]]:
    try:
        # Python knows no nanoseconds.
        rows = _with_micros(pq.read_table(pa.BufferReader(data), use_threads=False)).to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path}: is damaged or no file of labels ({str(error).splitlines()[0]}); bring it back"
        ) from None
    for number, row in enumerate(rows, 1):
        yield f"row {number}", {name: value for name, value in row.items() if value is not None}


def _with_micros(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            micros = table.column(place).cast(pa.timestamp("us", field.type.tz), safe=False)
            table = table.set_column(place, field.name, micros)
    return table


def _label_row(path: Path, place: str, row: Any) -> LabelRow:
    def wrong(what: str) -> UserError:
        return UserError(f"{path}: {place}: {what}")

    if not isinstance(row, Mapping):
        raise wrong("is no object; give key or video_id, label, labeller and at")
    if unknown := [name for name in row if name not in _COLUMNS]:
        raise wrong(f"{str(unknown[0])!r} is no field of a label; there are {', '.join(_COLUMNS)}")
    key, video_id = row.get("key"), row.get("video_id")
    if key is None and video_id is None:
        raise wrong("says of nothing; give key (a clip) or video_id (all its clips)")
    if key is not None:
        try:
            of_video, _ = parse_key(str(key))
        except ValueError as error:
            raise wrong(str(error)) from None
        if video_id not in (None, of_video):
            raise wrong(f"clip {key} is not of video {video_id!r}; give one of the two")
        video_id = of_video
    label = row.get("label")
    if isinstance(label, bool) or not isinstance(label, int | float):
        raise wrong(f"label is {label!r}, not a number; give 1 (bad) to 5 (good)")
    if label not in range(BAD, GOOD + 1):
        raise wrong(f"label is {label:g}; give a whole number from 1 (bad) to 5 (good)")
    labeller = row.get("labeller")
    if not isinstance(labeller, str) or not labeller:
        raise wrong("labeller is missing; say who gave the label, by any name")
    return LabelRow(
        place, None if key is None else str(key), str(video_id), int(label), labeller, _time(row, wrong)
    )


def _time(row: Mapping[str, Any], wrong: Callable[[str], UserError]) -> datetime:
    at = row.get("at")
    try:
        time = at if isinstance(at, datetime) else datetime.fromisoformat(at or "")
        # A time without a zone is taken as UTC, so that all can be compared.
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):  # the last of a time before the year 1 in UTC
        raise wrong(f"at is {at!r}; give a time as 2026-01-31T12:00:00Z") from None
