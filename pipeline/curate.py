"""Curate: which clips are kept, why each other one is not, and which split and shard each goes to.

One pure function of the clips, their scores, the rules and a seed. Rules are SQL predicates tried
in order; the first that a clip fails is its drop reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import score_names
from pipeline.classifier import resolve_rules
from pipeline.config import BuildConfig, CurateSettings
from pipeline.ingest import score_name
from shards.errors import SettingError
from shards.index import read_index, sample_bytes
from shards.keys import split_of
from shards.records import CLIP_SCHEMA, Placed
from shards.store import Store
from shards.tar import tar_bytes

KEPT = "kept"

SETTINGS_KEY = b"genieset_settings"
"""In the metadata of the catalog of clips: the settings hash that names their packs."""


@dataclass(frozen=True)
class Shard:
    """A shard to be: its place among those of its split, and its clips in order, by pack."""

    split: str
    number: int
    clips: tuple[tuple[str, Placed], ...]


@dataclass(frozen=True)
class Selection:
    """What curation decided.

    Attributes:
        clips: the catalog of clips; `shard` and `offset` are filled in by publishing.
        shards: those to be published.
    """

    clips: pa.Table
    shards: tuple[Shard, ...]


def curate(store: Store, packs: Iterable[str], config: BuildConfig) -> Selection:
    """Decide on every measured clip of these packs.

    Raises:
        SettingError: a rule is not SQL, names a score that was not measured, or asks for a classifier that
            is not there.
    """
    rules = resolve_rules(config)
    packs = sorted(packs)
    placed = {clip.clip.key: (pack, clip) for pack in packs for clip in read_index(store, pack)}
    clips = _clip_table([clip for _, clip in placed.values()])
    clips = decide(join_scores(store, packs, config.measured, clips), rules)
    kept = clips.filter(pc.equal(clips["decision"], KEPT))["key"].to_pylist()
    shards = fill_shards([placed[key] for key in kept], config.curate, config.shards.max_bytes)
    splits = {clip.clip.key: shard.split for shard in shards for _, clip in shard.clips}
    split = pa.array([splits.get(key) for key in clips["key"].to_pylist()], pa.string())
    clips = clips.set_column(clips.schema.get_field_index("split"), "split", split)
    return Selection(clips.replace_schema_metadata({SETTINGS_KEY: config.settings_hash}), shards)


def join_scores(store: Store, packs: Iterable[str], scorers: Iterable[str], clips: pa.Table) -> pa.Table:
    """Add a column for each score of these scorers; a clip that was not measured has null there."""
    for scorer in scorers:
        names = [score_name(scorer, pack) for pack in packs]
        tables = [store.read_table(name) for name in names if store.exists(name)]
        scores = pa.concat_tables(tables) if tables else pa.table({"key": pa.array([], pa.string())})
        rows = pc.index_in(clips["key"], value_set=scores["key"])
        for name in score_names(scorer):
            measured = scores[name] if name in scores.column_names else pa.array([], pa.float64())
            clips = clips.append_column(name, measured.take(rows))
    return clips


def decide(clips: pa.Table, rules: Mapping[str, str]) -> pa.Table:
    """Fill in `decision`: `kept`, or `dropped:<rule>` by the first rule that a clip fails.

    Raises:
        SettingError: a rule is not an SQL predicate on the clips' columns, or it gives null for a clip.
    """
    decision = [KEPT] * len(clips)
    columns = [name for name in clips.column_names if name not in _DECIDED]
    with duckdb.connect(config={"enable_external_access": "false", "threads": 1}) as database:
        database.register("clips", clips.select(columns).append_column("row", pa.array(range(len(clips)))))
        database.execute("SET lock_configuration = true")
        for rule, predicate in rules.items():
            answers = _apply(database, rule, predicate, columns)
            if answers != _apply(database, rule, predicate, columns):
                raise SettingError(
                    f"curate.rules.{rule}",
                    f"{predicate!r} answers otherwise when asked again; leave chance out",
                )
            for row, passes in answers:
                if decision[row] != KEPT:
                    continue
                if passes is None:
                    raise SettingError(
                        f"curate.rules.{rule}",
                        f"{predicate!r} is null for clip {clips['key'][row]}; where a score is missing, "
                        "`genieset ingest` measures it",
                    )
                if not passes:
                    decision[row] = f"dropped:{rule}"
    return clips.set_column(clips.schema.get_field_index("decision"), "decision", pa.array(decision))


def fill_shards(
    clips: Iterable[tuple[str, Placed]], settings: CurateSettings, max_bytes: int
) -> tuple[Shard, ...]:
    """Deal clips out to shards: mixed across videos by seed, each shard filled in turn."""
    by_split: dict[str, list[tuple[str, Placed]]] = {}
    for pack, clip in clips:
        by_split.setdefault(split_of(clip.clip.video_id, settings.splits), []).append((pack, clip))
    shards = []
    for split, members in sorted(by_split.items()):
        members.sort(key=lambda member: _place(settings.seed, member[1].clip.key))
        filling: list[tuple[str, Placed]] = []
        filled = number = 0
        for member in members:
            size = sample_bytes(member[1].clip, member[1].size)
            if filling and tar_bytes(filled + size) > max_bytes:
                shards.append(Shard(split, number, tuple(filling)))
                filling, filled, number = [], 0, number + 1
            filling.append(member)
            filled += size
        shards.append(Shard(split, number, tuple(filling)))
    return tuple(shards)


_DECIDED = frozenset({"decision", "split", "shard", "offset"})


def _clip_table(placed: list[Placed]) -> pa.Table:
    rows = [
        clip.clip.as_json()
        | {"decision": "", "split": None, "shard": None, "offset": None, "size": clip.size}
        for clip in sorted(placed, key=lambda clip: clip.clip.key)
    ]
    return pa.Table.from_pylist(rows, schema=CLIP_SCHEMA)


def _apply(
    database: duckdb.DuckDBPyConnection, rule: str, predicate: str, columns: list[str]
) -> list[tuple[int, bool | None]]:
    try:
        passes = duckdb.SQLExpression(predicate).cast("BOOLEAN")
        return database.view("clips").select(duckdb.ColumnExpression("row"), passes).order("row").fetchall()
    except duckdb.Error as error:
        known = ", ".join(columns)
        reason = str(error).splitlines()[0]
        raise SettingError(
            f"curate.rules.{rule}", f"{predicate!r}: {reason}; a rule is an SQL predicate on {known}"
        ) from None


def _place(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"shard:{seed}:{key}".encode()).digest()
