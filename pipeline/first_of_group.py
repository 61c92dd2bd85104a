"""The rule `first_of_group`: of footage that is there several times, one clip is kept.

Clips are gone through from the best to the worst. One is a duplicate if kept clips show the larger
part of it; it then belongs to the group of the kept clip that shows most of it. So a group is one kept
clip with those it stands for, and groups never run together, however many clips lie between them:
with consecutive clips A and B kept, a clip X that was cut across both joins the one it shares more
with; had only B been kept, with less than half of X in it, X would be kept too. No kept clip is seen
in the others by more than half.

Between splits the rule is stricter: a clip that shares any footage with a kept clip of another split
is a duplicate. Splits are gone through from the smallest share on, and `train` comes last: what
validation measures was not trained on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer_folder
from filters.fingerprint import FINGERPRINT_FPS, FRAMES, Hashes, unpack
from pipeline.config import CurateSettings
from pipeline.duplicates import MAX_CLIPS, Int, Matches, find_matches
from pipeline.ingest import score_name
from shards.ahead import in_order
from shards.errors import SettingError
from shards.keys import parse_key, split_of
from shards.store import Store

SCORER = "fingerprint"

_DIRECTION = re.compile(r"\s+(asc|desc)\s*$", re.IGNORECASE)


class FirstOfGroup:
    """Finds the duplicates among clips, for `pipeline.curate.decide`.

    Footage is compared once, when it is first asked for and among all clips, so that it costs nothing more
    to ask again for fewer of them, as `--explain` does.

    Args:
        packs: where the clips lie.
        clips: all of them, whatever rules say.
        videos: the catalog of videos.
    """

    def __init__(
        self, store: Store, packs: Iterable[str], clips: pa.Table, settings: CurateSettings, videos: pa.Table
    ) -> None:
        self._store = store
        self._packs = tuple(packs)
        # The order of rows decides what an over-full band proposes.
        self._clips = clips.sort_by("key")
        self._settings = settings
        self._videos = videos

    def __call__(self, clips: pa.Table) -> dict[str, str]:
        """Key of each duplicate -> key of the clip that is kept for it.

        Args:
            clips: those that no earlier rule dropped.

        Raises:
            SettingError: a clip has no fingerprint, there are too many clips, or `curate.prefer` is not an
                SQL ordering.
        """
        clips = clips.sort_by("key")
        keys = clips["key"].to_pylist()
        rate = clips["fps"].to_numpy()
        rows = pc.index_in(self._clips["key"], value_set=clips["key"])
        matches = self._matches.among(pc.fill_null(rows, -1).to_numpy().astype(np.int64))
        splits = [split_of(video_id, self._settings.splits) for video_id in clips["video_id"].to_pylist()]
        shares = self._settings.splits
        last = {name: (name == "train", share, name) for name, share in shares.items()}
        order = sorted(
            best_first(clips, self._videos, self._settings.prefer), key=lambda row: last[splits[row]]
        )
        frames = np.ceil(clips["n_frames"].to_numpy() * FINGERPRINT_FPS / rate).astype(np.int64)
        found = duplicates(matches, order, splits, np.minimum(frames, FRAMES))
        return {keys[row]: keys[of] for row, of in found.items()}

    @cached_property
    def _matches(self) -> Matches:
        clips = self._clips
        if len(clips) > MAX_CLIPS:
            raise SettingError(
                "curate.rules",
                f"first_of_group: {len(clips)} clips; {MAX_CLIPS} can be compared, so build several datasets",
            )
        numbers = pc.dictionary_encode(clips["video_id"]).combine_chunks().indices.to_numpy()
        starts = np.array([parse_key(key)[1] for key in clips["key"].to_pylist()], np.int64)
        return find_matches(
            self._fingerprints(clips["key"]),
            numbers.astype(np.int64),
            np.round(starts * FINGERPRINT_FPS / clips["fps"].to_numpy()).astype(np.int64),
        )

    def _fingerprints(self, keys: pa.ChunkedArray) -> Hashes:
        there = set(self._store.list(scorer_folder(SCORER)))
        names = [name for pack in self._packs if (name := score_name(SCORER, pack)) in there]
        tables = in_order(self._store, self._store.read_table, names)
        none = pa.table({"key": pa.array([], pa.string()), SCORER: pa.array([], pa.binary())})
        measured = pa.concat_tables([none, *tables])
        rows = pc.index_in(keys, value_set=measured["key"])
        if rows.null_count:
            missing = keys.filter(pc.is_null(rows))[0]
            raise SettingError(
                "curate.rules",
                f"first_of_group: clip {missing} has no fingerprint; `genieset ingest` measures it "
                "with `fingerprint` among the scorers",
            )
        return unpack(measured[SCORER].take(rows).to_pylist())


def best_first(clips: pa.Table, videos: pa.Table, prefer: Sequence[str]) -> list[int]:
    """Rows of the clips in the order of preference, then of their keys.

    Args:
        prefer: terms of an SQL ORDER BY (an expression each, with ASC or DESC or without), on the
            clips' columns and their video's `width` and `height`.

    Raises:
        SettingError: it is not an SQL ordering of these columns, or one of chance.
    """
    rows = pc.index_in(clips["video_id"], value_set=videos["video_id"])
    for name in ("width", "height"):
        clips = clips.append_column(name, videos[name].take(rows))
    with duckdb.connect(config={"enable_external_access": "false", "threads": 1}) as database:
        database.register("clips", clips.append_column("row", pa.array(range(len(clips)), pa.int64())))
        database.execute("SET lock_configuration = true")
        try:
            terms = [_term(term) for term in (*prefer, "key")]
            first, again = (
                [row for (row,) in database.view("clips").sort(*terms).select("row").fetchall()]
                for _ in range(2)
            )
        except duckdb.Error as error:
            raise SettingError(
                "curate.prefer",
                f"{str(error).splitlines()[0]}; give terms of an SQL ORDER BY on "
                f"{', '.join(clips.column_names)}",
            ) from None
    if first != again:
        raise SettingError("curate.prefer", "orders otherwise when asked again; leave chance out")
    return first


def _term(term: str) -> duckdb.Expression:
    """A term as an expression, never as text that a statement is made of."""
    expression = _DIRECTION.sub("", term)
    direction = term[len(expression) :].strip().lower()
    value = duckdb.SQLExpression(expression)
    ordered = value.desc() if direction == "desc" else value.asc()
    return ordered.nulls_last()


def duplicates(
    matches: Matches, order: Iterable[int], splits: Sequence[str], frames: Int
) -> Mapping[int, int]:
    """Row of each duplicate -> row of the clip that is kept for it.

    Args:
        order: the rows, best first.
        splits: the split of each row.
        frames: how long each row's clip is, in frames of its fingerprint.
    """
    # For each row, the rows that share footage with it, and which of its frames these are, as bits.
    shared: dict[int, list[tuple[int, int]]] = defaultdict(list)
    columns = (matches.first, matches.second, matches.shift, matches.start, matches.stop)
    for first, second, shift, start, stop in zip(*(column.tolist() for column in columns), strict=True):
        shared[second].append((first, _bits(start, stop)))
        shared[first].append((second, _bits(start + shift, stop + shift)))
    place: dict[int, int] = {}
    found: dict[int, int] = {}
    for number, row in enumerate(order):
        kept = [(other, bits) for other, bits in shared.get(row, ()) if other in place]
        seen = 0
        for _, bits in kept:
            seen |= bits
        elsewhere = [one for one in kept if splits[one[0]] != splits[row]]
        if elsewhere or 2 * seen.bit_count() > frames[row]:
            found[row] = min(elsewhere or kept, key=lambda one: (-one[1].bit_count(), place[one[0]]))[0]
        elif row in shared:
            place[row] = number
    return found


def _bits(start: int, stop: int) -> int:
    return (1 << stop) - (1 << start)
