from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.curate import RuleEffect, decide, rule_effects
from shards.errors import SettingError
from shards.keys import clip_key
from shards.records import CLIP_SCHEMA


def clips(**scores: list[float | None]) -> pa.Table:
    count = len(next(iter(scores.values())))
    rows = [
        {
            "key": clip_key("v", 160 * n),
            "video_id": "v",
            "start_s": 16.0 * n,
            "n_frames": 160,
            "unique_frames": 160,
            "fps": 10.0,
            "content_box": [0, 0, 160, 90],
            "decision": "",
            "size": 1000,
        }
        for n in range(count)
    ]
    table = pa.Table.from_pylist(rows, schema=CLIP_SCHEMA)
    for name, values in scores.items():
        table = table.append_column(name, pa.array(values, pa.float64()))
    return table


def decisions(table: pa.Table, rules: dict[str, str]) -> list[str]:
    found: list[str] = decide(table, rules)["decision"].to_pylist()
    return found


def test_the_first_rule_that_fails_is_the_reason() -> None:
    table = clips(motion=[0.0, 0.1, 0.1, 0.0], cuts=[0.0, 0.0, 9.0, 9.0])
    assert decisions(table, {"static": "motion >= 0.004", "choppy": "cuts < 5"}) == [
        "dropped:static",
        "kept",
        "dropped:choppy",
        "dropped:static",
    ]
    assert decisions(table, {"choppy": "cuts < 5", "static": "motion >= 0.004"})[3] == "dropped:choppy"


def test_the_effect_of_each_rule_in_its_turn_and_by_itself() -> None:
    table = clips(motion=[0.0, 0.1, 0.1, 0.0], cuts=[0.0, 0.0, 9.0, 9.0])
    rules = {"static": "motion >= 0.004", "choppy": "cuts < 5"}
    assert list(rule_effects(table, rules)) == [
        RuleEffect("static", "motion >= 0.004", reached=4, dropped=2, alone=2, without=1),
        RuleEffect("choppy", "cuts < 5", reached=2, dropped=1, alone=2, without=1),
    ]


def test_a_rule_that_an_earlier_one_guards_has_no_effect_by_itself() -> None:
    table = clips(motion=[0.0, 0.1])
    effects = list(rule_effects(table, {"still": "motion > 0", "quick": "1 / nullif(motion, 0) < 20"}))
    assert [(one.dropped, one.alone, one.without) for one in effects] == [(1, 1, None), (0, None, 0)]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_effects_in_their_turn_sum_up_to_what_is_dropped(motion: list[float]) -> None:
    rules = {"low": "motion > 0.2", "high": "motion < 0.8", "middle": "motion < 0.4 OR motion > 0.6"}
    effects = list(rule_effects(clips(motion=motion), rules))
    kept = decisions(clips(motion=motion), rules).count("kept")
    assert sum(one.dropped for one in effects) == len(motion) - kept
    assert all(one.dropped <= one.alone and one.without <= one.alone for one in effects)


def test_without_rules_everything_is_kept() -> None:
    assert decisions(clips(motion=[0.0]), {}) == ["kept"]


def test_no_clips_are_no_trouble() -> None:
    assert decisions(clips(motion=[]), {"static": "motion > 0"}) == []


def test_rules_see_the_clip_too() -> None:
    assert decisions(clips(motion=[0, 0]), {"late": "start_s < 10 AND content_box[3] = 160"}) == [
        "kept",
        "dropped:late",
    ]


def test_a_null_matters_only_where_no_earlier_rule_dropped_the_clip() -> None:
    table = clips(motion=[0.0, 0.5])
    rules = {"static": "motion > 0", "ratio": "CASE WHEN motion > 0 THEN 1 / motion < 9 END"}
    assert decisions(table, rules) == ["dropped:static", "kept"]


@pytest.mark.parametrize("rule", ["random() > 0.5", "row_number() OVER () < 50"])
def test_neither_chance_nor_the_order_of_clips_decides(rule: str) -> None:
    with pytest.raises(SettingError, match="leave chance and the order of clips out"):
        decide(clips(motion=[0.0] * 100), {"lucky": rule})


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("motoin > 0", r"^curate\.rules\.r: 'motoin > 0': there is no column motoin; did you mean motion\?$"),
        ("zzz > 0", "there is no column zzz; there are key, video_id, .*motion"),
        (
            "faces < 1",
            "faces is a scorer, which gives face_area, .*; name one of these, and add faces to `scorers:`$",
        ),
        ("face_area < 1", "face_area is of a scorer that was not asked for; add faces to `scorers:`"),
        ("motion >", "Parser Error"),
        ("motion > 0; DROP TABLE clips", "Parser Error"),
        ("motion > (SELECT count(*) FROM read_csv('/etc/passwd'))", "Permission Error|disabled"),
        ("motion > 0) FROM clips; SELECT (1", "Parser Error"),
    ],
)
def test_a_rule_that_is_no_predicate_is_one_line_that_helps(rule: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        decide(clips(motion=[0.0]), {"r": rule})
    assert "\n" not in str(caught.value)


def test_a_missing_score_is_an_error_and_never_a_drop() -> None:
    with pytest.raises(
        SettingError, match=r"curate\.rules\.static.* is null for clip v_00000160; where a score is missing"
    ):
        decide(clips(motion=[0.1, None]), {"static": "motion > 0"})
