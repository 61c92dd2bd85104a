"""Curate: which clips are kept, why each other one is not, and which split and shard each goes to.

One pure function of the clips, their scores, the rules and a seed. Rules are SQL predicates tried
in order; the first that a clip fails is its drop reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import score_names
from pipeline.classifier import resolve_rules
from pipeline.config import FIRST_OF_GROUP, BuildConfig, CurateSettings
from pipeline.first_of_group import FirstOfGroup
from pipeline.ingest import score_name
from shards.catalog import SETTINGS_KEY
from shards.errors import SettingError
from shards.index import read_index, sample_bytes
from shards.keys import split_of
from shards.records import CLIP_SCHEMA, Placed
from shards.store import Store
from shards.tar import tar_bytes

KEPT = "kept"


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
        effects: of each rule, in order; only where they were asked for.
    """

    clips: pa.Table
    shards: tuple[Shard, ...]
    effects: tuple[RuleEffect, ...] = ()


@dataclass(frozen=True)
class RuleEffect:
    """What one rule does to the clips.

    Attributes:
        rule: its name.
        predicate: its SQL.
        reached: clips that no rule before it dropped.
        dropped: those of them that it drops.
        alone: clips that it would drop if it were the only rule; `None` where it has no answer for a clip
            that an earlier rule drops.
        without: so many more clips would be kept if it were left out; `None` as for `alone`.
    """

    rule: str
    predicate: str
    reached: int
    dropped: int
    alone: int | None
    without: int | None


def curate(
    store: Store, packs: Iterable[str], config: BuildConfig, videos: pa.Table, *, explain: bool = False
) -> Selection:
    """Decide on every measured clip of these packs.

    Args:
        videos: the catalog of videos.
        explain: whether to find out too what each rule does by itself.

    Raises:
        SettingError: a rule is not SQL, names a score that was not measured, or asks for a classifier that
            is not there.
    """
    rules = resolve_rules(config)
    packs = sorted(packs)
    placed = {clip.clip.key: (pack, clip) for pack in packs for clip in read_index(store, pack)}
    clips = _clip_table([clip for _, clip in placed.values()])
    clips = join_scores(store, packs, config.measured, clips)
    first_of_group = FirstOfGroup(store, packs, config.curate, videos)
    effects = tuple(rule_effects(clips, rules, first_of_group)) if explain else ()
    clips = decide(clips, rules, first_of_group)
    kept = clips.filter(pc.equal(clips["decision"], KEPT))["key"].to_pylist()
    shards = fill_shards([placed[key] for key in kept], config.curate, config.shards.max_bytes)
    splits = {clip.clip.key: shard.split for shard in shards for _, clip in shard.clips}
    split = pa.array([splits.get(key) for key in clips["key"].to_pylist()], pa.string())
    clips = clips.set_column(clips.schema.get_field_index("split"), "split", split)
    return Selection(clips.replace_schema_metadata({SETTINGS_KEY: config.settings_hash}), shards, effects)


def join_scores(store: Store, packs: Iterable[str], scorers: Iterable[str], clips: pa.Table) -> pa.Table:
    """Add a column for each score of these scorers; a clip that was not measured has null there."""
    for scorer in scorers:
        columns = score_names(scorer)
        if not columns:
            continue
        names = [score_name(scorer, pack) for pack in packs]
        tables = [store.read_table(name, ["key", *columns]) for name in names if store.exists(name)]
        scores = pa.concat_tables(tables) if tables else pa.table({"key": pa.array([], pa.string())})
        rows = pc.index_in(clips["key"], value_set=scores["key"])
        for name in columns:
            measured = scores[name] if name in scores.column_names else pa.array([], pa.float64())
            clips = clips.append_column(name, measured.take(rows))
    return clips


def decide(
    clips: pa.Table,
    rules: Mapping[str, str],
    first_of_group: Callable[[pa.Table], Mapping[str, str]] | None = None,
) -> pa.Table:
    """Fill in `decision`: `kept`, or `dropped:<rule>` by the first rule that a clip fails.

    Args:
        first_of_group: of the clips that are left, key of a duplicate -> key of what is kept for it;
            for the rule of this name, which also fills in `duplicate_of`.

    Raises:
        SettingError: a rule is not an SQL predicate on the clips' columns, or it gives null for a clip.
    """
    decision = [KEPT] * len(clips)
    duplicate_of: list[str | None] = [None] * len(clips)
    row_of = {key: row for row, key in enumerate(clips["key"].to_pylist())}
    columns = [name for name in clips.column_names if name not in _DECIDED]
    with duckdb.connect(config={"enable_external_access": "false", "threads": 1}) as database:
        database.register("clips", clips.select(columns).append_column("row", pa.array(range(len(clips)))))
        database.execute("SET lock_configuration = true")
        for rule, predicate in rules.items():
            if predicate == FIRST_OF_GROUP and first_of_group:
                left = clips.filter(pa.array([made == KEPT for made in decision], pa.bool_()))
                for key, other in first_of_group(left).items():
                    decision[row_of[key]] = f"dropped:{rule}"
                    duplicate_of[row_of[key]] = other
                continue
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
    for name, column in (("decision", decision), ("duplicate_of", duplicate_of)):
        clips = clips.set_column(clips.schema.get_field_index(name), name, pa.array(column, pa.string()))
    return clips


def rule_effects(
    clips: pa.Table,
    rules: Mapping[str, str],
    first_of_group: Callable[[pa.Table], Mapping[str, str]] | None = None,
) -> Iterator[RuleEffect]:
    """What each rule does in its turn, by itself, and what would be kept without it.

    Raises:
        SettingError: as `decide` does.
    """

    def kept(some: Mapping[str, str]) -> int:
        decision = decide(clips, some, first_of_group)["decision"]
        return pc.sum(pc.equal(decision, KEPT)).as_py() or 0

    def kept_if_it_can_be_said(some: Mapping[str, str]) -> int | None:
        try:
            return kept(some)
        except SettingError:
            # The rule has no answer for a clip that an earlier one keeps from it.
            return None

    names = list(rules)
    kept_by_all, reached = kept(rules), len(clips)
    for number, rule in enumerate(names, 1):
        left = kept({name: rules[name] for name in names[:number]})
        alone = kept_if_it_can_be_said({rule: rules[rule]})
        without = kept_if_it_can_be_said({name: rules[name] for name in names if name != rule})
        yield RuleEffect(
            rule=rule,
            predicate=rules[rule],
            reached=reached,
            dropped=reached - left,
            alone=None if alone is None else len(clips) - alone,
            without=None if without is None else without - kept_by_all,
        )
        reached = left


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


_DECIDED = frozenset({"decision", "duplicate_of", "split", "shard", "offset"})


def _clip_table(placed: list[Placed]) -> pa.Table:
    rows = [
        clip.clip.as_json()
        | {
            "decision": "",
            "duplicate_of": None,
            "split": None,
            "shard": None,
            "offset": None,
            "size": clip.size,
        }
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
