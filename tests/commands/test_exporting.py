"""`genieset query`, `extract`, `export` and `show`, as a person and as a program see them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.test_terminal import run_at_a_terminal
from tests.published import HOSTILE


def genieset(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def refusal(*arguments: str | Path) -> str:
    done = genieset(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def dataset(hostile: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(hostile, tmp_path / "set"))


def test_a_question_is_answered_by_a_table_and_by_json(hostile: Path) -> None:
    sql = "SELECT decision, count(*) AS n, max(motion) > 1 AS wild FROM clips GROUP BY 1 ORDER BY 1"
    shown = genieset("query", hostile, sql).stdout
    assert [line.split() for line in shown.splitlines() if "static" in line] == [
        ["dropped:static", "1", "False"]
    ]
    assert shown.splitlines()[-1] == "2 rows"
    told = json.loads(genieset("query", hostile, sql, "--json").stdout)
    assert told == {
        "columns": ["decision", "n", "wild"],
        "rows": [["dropped:static", 1, False], ["kept", 6, False]],
        "more": False,
    }


def test_what_json_has_no_word_for_is_text(hostile: Path) -> None:
    values = "'nan'::DOUBLE, DATE '2026-01-02', 'a'::BLOB, [1, NULL], {'a': 1.5::DECIMAL(3,1)}, content_box"
    sql = f"SELECT {values} FROM clips LIMIT 1"
    told = json.loads(genieset("query", hostile, sql, "--json").stdout)
    assert told["rows"][0][:5] == ["nan", "2026-01-02", "61", [1, None], {"a": "1.5"}]
    assert told["rows"][0][5][2:] == [160, 90]


def test_a_long_answer_is_cut_and_says_so(hostile: Path) -> None:
    shown = genieset("query", hostile, "SELECT * FROM range(1234)").stdout
    assert len(shown.splitlines()) < 120
    assert shown.splitlines()[-1] == "100 rows; there are more, --limit gives them"
    told = json.loads(genieset("query", hostile, "SELECT * FROM range(1234)", "--json").stdout)
    assert (len(told["rows"]), told["more"]) == (1234, False)
    told = json.loads(
        genieset("query", hostile, "SELECT * FROM range(1234)", "--json", "--limit", "2").stdout
    )
    assert (told["rows"], told["more"]) == ([[0], [1]], True)


def test_what_an_answer_holds_does_not_drive_the_terminal(hostile: Path) -> None:
    sql = "SELECT title, '\x1b]0;owned\x07' AS \"a\x1b[31m\", repeat('x', 5000) AS long FROM videos"
    code, shown = run_at_a_terminal("query", str(hostile), sql)
    assert code == 0
    for hostile_text in ("\x1b]0;", "\x07", "\x1b[31m", "\u202e", "x" * 81):
        assert hostile_text not in shown
    code, shown = run_at_a_terminal("query", str(hostile), "SELECT error('\x1b]0;owned\x07')")
    assert (code, "\x1b]0;" in shown) == (2, False)


def test_a_mistake_is_one_line(hostile: Path, tmp_path: Path) -> None:
    assert "give one SELECT" in refusal("query", hostile, f"COPY clips TO '{tmp_path}/x'")
    assert 'syntax error at or near "SELEC"' in refusal("query", hostile, "SELEC\n1")
    assert "no version 7; there are [1]" in refusal("query", hostile, "FROM clips", "--version", "7")
    assert "did you mean croissant?" in refusal("export", hostile, "--to", "croisant")
    assert "--push: goes with --to hf" in refusal("export", hostile, "--to", "wids", "--push", "a/b")
    public = refusal("export", hostile, "--to", "hf", "--push", "a/b", "--public")
    assert "local files by their paths; --local-paths says that the world may see them" in public
    assert not (hostile / "exports").exists()
    assert "give a folder" in refusal("export", hostile, "--to", "wids", "--out", "s3://bucket/x")
    assert "--public: goes with --push" in refusal("export", hostile, "--to", "hf", "--public")
    out = ("--out", tmp_path / "out")
    assert "give the keys of clips, or --where" in refusal("extract", hostile, *out)
    assert "give the keys of clips, or --where" in refusal("extract", hostile, "a_0", "--where", "true", *out)
    assert "no clip fulfils it" in refusal("extract", hostile, "--where", "motion > 9", *out)
    assert "no clip 'nobody_00000000'" in refusal("extract", hostile, "nobody_00000000", *out)
    assert not any(tmp_path.iterdir())


def test_clips_are_taken_out_by_key_and_by_predicate(hostile: Path, tmp_path: Path) -> None:
    told = json.loads(genieset("query", hostile, "SELECT key FROM clips ORDER BY 1", "--json").stdout)
    key = told["rows"][0][0]
    done = genieset("extract", hostile, key, key, "--out", tmp_path / "one")
    assert done.stdout == f"1 clips written to {tmp_path / 'one'}\n"
    shown = json.loads(genieset("show", hostile, key, "--json").stdout)
    assert json.loads((tmp_path / "one" / f"{key}.json").read_text()).items() <= shown.items()
    done = genieset(
        "extract", hostile, "--where", "decision = 'kept'", "--limit", "2", "--out", tmp_path / "two"
    )
    assert done.stdout == f"2 clips written to {tmp_path / 'two'}; 4 more are left out by --limit\n"
    assert len(list((tmp_path / "two").glob("*.mp4"))) == 2


def test_an_export_says_where_it_is(dataset: Path) -> None:
    done = genieset("export", dataset, "--to", "wids")
    assert done.stdout == f"version 1: train.json, val.json in {dataset}/exports/wids/000001\n"
    told = json.loads(genieset("export", dataset, "--to", "hf", "--json").stdout)
    assert told == {"version": 1, "folder": f"{dataset}/exports/hf/000001", "files": ["README.md"]}
    assert (dataset / "exports/hf/000001/README.md").is_file()


def test_a_clip_is_shown_with_the_rule_that_dropped_it(hostile: Path, tmp_path: Path) -> None:
    told = json.loads(
        genieset("query", hostile, "SELECT key, decision FROM clips ORDER BY 2", "--json").stdout
    )
    (dropped, _), *_, (kept, _) = told["rows"]
    shown = genieset("show", hostile, dropped, "--sheet", tmp_path / "sheet.png").stdout
    assert "static: motion >= 0.0001" in shown
    assert "packs/" in shown
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    shown = genieset("show", hostile, kept).stdout
    assert "shards/" in shown
    assert HOSTILE.split("\n")[0][:20] in shown
    assert "why" not in shown


def test_a_clip_is_shown_as_a_version_had_it(dataset: Path) -> None:
    overrides = [f"dataset={dataset}", "curate.rules.static=motion >= 2"]
    genieset("curate", dataset / "config.json", *(part for one in overrides for part in ("--set", one)))
    told = json.loads(
        genieset(
            "query", dataset, "SELECT key FROM clips WHERE decision = 'kept'", "--version", "1", "--json"
        ).stdout
    )
    key = told["rows"][0][0]
    now, then = genieset("show", dataset, key).stdout, genieset("show", dataset, key, "--version", "1").stdout
    assert "static: motion >= 2" in now
    assert "why" not in then
    assert "no version 7" in refusal("show", dataset, key, "--version", "7")
