"""Curate: which clips are kept, why each other one is not, and which split each goes to.

One pure function of the clips, their scores, the rules and a seed. Rules are SQL predicates tried
in order; the first that a clip fails is its drop reason. What the rules leave is held to the shares of
`curate.max_share`. All of it is columns, so that a million clips are decided on in a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import score_names, scorer_folder
from pipeline.classifier import resolve_rules
from pipeline.config import FIRST_OF_GROUP, SHARE_RULES, BuildConfig, CurateSettings, MaxShare
from pipeline.first_of_group import FirstOfGroup
from pipeline.ingest import score_name
from pipeline.rule_hints import explain_unknown
from pipeline.shares import over_share
from shards.catalog import SETTINGS_KEY
from shards.errors import SettingError
from shards.index import read_indexes
from shards.keys import split_of
from shards.records import CLIP_SCHEMA
from shards.store import Store
from shards.tables import read_tables

KEPT = "kept"


@dataclass(frozen=True)
class Selection:
    """What curation decided.

    Attributes:
        clips: the catalog of clips, by key; `shard` and `offset` are filled in by publishing.
        sources: for each of them `pack`, `row` (its place in the pack), `gop_frames` and `crc32`.
        effects: of each rule, in order, and of each share; only where they were asked for.
    """

    clips: pa.Table
    sources: pa.Table
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
    store: Store, packs: Sequence[str], config: BuildConfig, videos: pa.Table, *, explain: bool = False
) -> Selection:
    """Decide on every measured clip of these packs.

    Args:
        videos: the catalog of videos.
        explain: whether to find out too what each rule does by itself.

    Raises:
        SettingError: a rule is not SQL, names a score that was not measured, or asks for a classifier that
            is not there; or no choice of clips fulfils the shares.
    """
    rules = resolve_rules(config)
    settings = config.curate
    packs = sorted(packs)
    clips, sources = _read_clips(store, packs)
    clips = join_scores(store, packs, config.measured, clips)
    first_of_group = FirstOfGroup(store, packs, clips, settings, videos)
    effects = list(rule_effects(clips, rules, first_of_group)) if explain else []
    clips = decide(clips, rules, first_of_group)
    if explain:
        effects += share_effects(clips, videos, settings)
    clips = hold_to_shares(clips, videos, settings)
    clips = _set(clips, "split", _splits(clips, settings.splits))
    clips = clips.combine_chunks().replace_schema_metadata({SETTINGS_KEY: config.settings_hash})
    return Selection(clips, sources, tuple(effects))


def join_scores(store: Store, packs: Sequence[str], scorers: Sequence[str], clips: pa.Table) -> pa.Table:
    """Add a column for each score of these scorers; a clip that was not measured has null there."""
    for scorer in scorers:
        columns = score_names(scorer)
        if not columns:
            continue
        there = set(store.list(scorer_folder(scorer)))
        names = [name for pack in packs if (name := score_name(scorer, pack)) in there]
        kinds = {"key": pa.string(), **dict.fromkeys(columns, pa.float64())}
        scores = read_tables(store, names, pa.schema(kinds))
        rows = pc.index_in(clips["key"], value_set=scores["key"].combine_chunks()).combine_chunks()
        for name in columns:
            clips = clips.append_column(name, scores[name].take(rows))
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
    # The number of the rule that drops a clip, counted from 1; 0 for one that is kept.
    decision = np.zeros(len(clips), np.int32)
    duplicate_of = pa.nulls(len(clips), pa.string())
    columns = [name for name in clips.column_names if name not in _DECIDED]
    with duckdb.connect(config={"enable_external_access": "false", "threads": 1}) as database:
        database.register("clips", clips.select(columns).append_column("row", pa.array(range(len(clips)))))
        database.execute("SET lock_configuration = true")
        for number, (rule, predicate) in enumerate(rules.items(), 1):
            left = decision == 0
            if predicate == FIRST_OF_GROUP and first_of_group:
                found = first_of_group(clips.filter(pa.array(left)))
                others = pa.table({"key": pa.array(found, pa.string()), "of": list(found.values())})
                place = pc.index_in(clips["key"], value_set=others["key"].combine_chunks()).combine_chunks()
                decision[pc.is_valid(place).to_numpy(zero_copy_only=False)] = number
                duplicate_of = pc.coalesce(duplicate_of, others["of"].cast(pa.string()).take(place))
                continue
            passes = _apply(database, rule, predicate, columns)
            if passes != _apply(database, rule, predicate, columns, backwards=True):
                raise SettingError(
                    f"curate.rules.{rule}",
                    f"{predicate!r} answers otherwise when asked again in another order; leave chance and "
                    "the order of clips out",
                )
            unknown = np.flatnonzero(left & pc.is_null(passes).to_numpy())
            if len(unknown):
                raise SettingError(
                    f"curate.rules.{rule}",
                    f"{predicate!r} is null for clip {clips['key'][int(unknown[0])]}; where a score is "
                    "missing, `genieset ingest` measures it",
                )
            decision[left & ~pc.fill_null(passes, True).to_numpy()] = number
    names = pa.array([KEPT, *(f"dropped:{rule}" for rule in rules)])
    clips = _set(clips, "decision", names.take(pa.array(decision)))
    return _set(clips, "duplicate_of", duplicate_of)


def hold_to_shares(clips: pa.Table, videos: pa.Table, settings: CurateSettings) -> pa.Table:
    """Drop of the kept clips those that are over a share of `curate.max_share`.

    Raises:
        SettingError: no choice of clips fulfils the shares.
    """
    if settings.max_share == MaxShare():
        return clips
    kept = np.flatnonzero(pc.equal(clips["decision"], KEPT).to_numpy())
    over = over_share(clips.take(pa.array(kept)), videos, settings.max_share, settings.seed)
    decision = np.zeros(len(clips), np.int32)
    for number, rows in enumerate(over, 1):
        decision[kept[rows]] = number
    names = pa.array([None, *(f"dropped:{rule}" for rule in SHARE_RULES.values())], pa.string())
    return _set(clips, "decision", pc.coalesce(names.take(pa.array(decision)), clips["decision"]))


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


def share_effects(clips: pa.Table, videos: pa.Table, settings: CurateSettings) -> Iterator[RuleEffect]:
    """What each share drops of the clips that the rules keep, and what would be kept without it.

    Raises:
        SettingError: no choice of clips fulfils the shares.
    """

    def dropped(shares: MaxShare) -> Mapping[str, int]:
        held = hold_to_shares(clips, videos, settings.model_copy(update={"max_share": shares}))
        return count_decisions(held)

    shares = settings.max_share
    counts = dropped(shares)
    reached = count_decisions(clips).get(KEPT, 0)
    for place, rule in SHARE_RULES.items():
        share = getattr(shares, place)
        if share is None:
            continue
        mine = counts.get(f"dropped:{rule}", 0)
        without = dropped(shares.model_copy(update={place: None}))
        alone = dropped(MaxShare(**{place: share}))
        yield RuleEffect(
            rule=rule,
            predicate=f"at most {share:g} of the kept clips are from one {place}",
            reached=reached,
            dropped=mine,
            alone=alone.get(f"dropped:{rule}", 0),
            without=without.get(KEPT, 0) - counts.get(KEPT, 0),
        )
        reached -= mine


def count_decisions(clips: pa.Table) -> dict[str, int]:
    """Decision -> number of clips."""
    counted = pc.value_counts(clips["decision"]).to_pylist()
    return dict(sorted((entry["values"], entry["counts"]) for entry in counted))


_DECIDED = frozenset({"decision", "duplicate_of", "split", "shard", "offset"})


_SOURCE = ("gop_frames", "crc32")


def _read_clips(store: Store, packs: Sequence[str]) -> tuple[pa.Table, pa.Table]:
    """All clips of some packs by key, undecided; and for each of them where it is from."""
    columns = [name for name in CLIP_SCHEMA.names if name not in _DECIDED]
    rows = read_indexes(store, packs, [*columns, *_SOURCE]).sort_by("key")
    undecided = {
        "decision": pa.repeat("", len(rows)),
        **{name: pa.nulls(len(rows), CLIP_SCHEMA.field(name).type) for name in _DECIDED - {"decision"}},
    }
    told = {name: rows[name] if name in columns else undecided[name] for name in CLIP_SCHEMA.names}
    pack = pa.DictionaryArray.from_arrays(rows["object"].combine_chunks(), pa.array(packs, pa.string()))
    sources = pa.table({"pack": pack, **{name: rows[name] for name in ("row", *_SOURCE)}})
    return pa.table(told, schema=CLIP_SCHEMA), sources


def _splits(clips: pa.Table, shares: Mapping[str, float]) -> pa.Array:
    """The split of each kept clip; null for the others."""
    kept = pc.if_else(pc.equal(clips["decision"], KEPT), clips["video_id"], None).combine_chunks()
    videos = kept.dictionary_encode()
    splits = [split_of(video_id, shares) for video_id in videos.dictionary.to_pylist()]
    return pa.array(splits, pa.string()).take(videos.indices)


def _set(clips: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    place = clips.schema.get_field_index(name)
    return clips.set_column(place, clips.schema.field(place), column)


def _apply(
    database: duckdb.DuckDBPyConnection,
    rule: str,
    predicate: str,
    columns: list[str],
    *,
    backwards: bool = False,
) -> pa.ChunkedArray:
    """For each clip whether it fulfils the rule; null where the rule does not say.

    Args:
        backwards: ask about the last clip first.
    """
    try:
        passes = duckdb.SQLExpression(predicate).cast("BOOLEAN").alias("passes")
        clips = database.view("clips")
        if backwards:
            clips = clips.order("row DESC")
        answers = clips.select(duckdb.ColumnExpression("row"), passes).order("row")
        return answers.to_arrow_table()["passes"]
    except duckdb.Error as error:
        reason = explain_unknown(str(error).splitlines()[0], columns)
        raise SettingError(f"curate.rules.{rule}", f"{predicate!r}: {reason}") from None
