"""Plans that need what the catalog does not hold: games by title, and a classifier's threshold."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from filters.classifier.decide import Rule
from labelling.clips import read_catalog
from labelling.plans import sample
from labelling.resolve import EVEN_QUALITY, resolve_plan
from pipeline.build import CONFIG_NAME
from shards.errors import UserError
from shards.store import Store
from tests.labelling.conftest import Served

Serve = Callable[..., Served]
Untrained = Callable[..., str]


def change_config(dataset: Path, **more: object) -> None:
    """What the last build was told."""
    config = json.loads((dataset / CONFIG_NAME).read_text())
    (dataset / CONFIG_NAME).write_text(json.dumps(config | more))


def test_a_game_is_the_first_title_keyword(dataset: Path) -> None:
    change_config(dataset, titles={"keywords": ["platformer", "Jumper", "CoinRun"], "actions": ["speedrun"]})
    store = Store(str(dataset))
    clips, plan = resolve_plan(store, read_catalog(store), "stratum:game")
    games = dict(zip(clips["key"].to_pylist(), clips["game"].to_pylist(), strict=True))
    assert set(games.values()) == {"Jumper", "CoinRun", None}
    chosen = sample(clips, plan, 3, 0)
    assert {one.stratum for one in chosen} == {"Jumper", "CoinRun", "none"}
    assert all(str(games[one.key] or "none") == one.stratum for one in chosen)


def test_without_title_keywords_there_are_no_games(dataset: Path) -> None:
    store = Store(str(dataset))
    with pytest.raises(UserError, match=r"--plan stratum:game: no game is known, .* titles.keywords"):
        resolve_plan(store, read_catalog(store), "stratum:game")


def test_near_a_classifier_after_apply_alone(dataset: Path, untrained: Untrained, serve: Serve) -> None:
    store = Store(str(dataset))
    other = untrained(dataset / "classifiers")
    rule = Rule(quality=0.4321, confidence=0.0, target="share 0.5")
    applied = untrained(dataset / "classifiers", rule)
    command = [sys.executable, "-P", "-m", "genieset", "classifier", "apply", str(dataset), applied]
    subprocess.run(command, check=True, capture_output=True, timeout=280)

    clips, plan = resolve_plan(store, read_catalog(store), f"near:{applied}")
    assert plan == f"near:quality-{applied}=0.4321"
    qualities = dict(zip(clips["key"].to_pylist(), clips[f"quality-{applied}"].to_pylist(), strict=True))
    for pack in packs(dataset):
        for row in store.read_table(f"scores/quality-{applied}/{pack.name}").to_pylist():
            assert qualities[row["key"]] == row["quality"]
    distances = [abs(qualities[one.key] - 0.4321) for one in sample(clips, plan, 12, 0)]
    assert len(distances) == 12
    assert distances == sorted(distances)

    # What the catalog calls quality may be another one's.
    stranger = read_catalog(store).append_column("quality", pa.array([0.4321] * 12))
    assert resolve_plan(store, stranger, f"near:{applied}")[0][f"quality-{applied}"].equals(
        clips[f"quality-{applied}"]
    )
    with pytest.raises(UserError, match=rf"--plan near:{other}: .* has measured no clip; `.* apply"):
        resolve_plan(store, read_catalog(store), f"near:{other}")
    with pytest.raises(UserError, match="--plan near:classifier: the dataset was built without a classifier"):
        resolve_plan(store, read_catalog(store), "near:classifier")
    change_config(dataset, classifier=applied)
    assert resolve_plan(store, read_catalog(store), "near:classifier")[1] == plan
    served = serve("--plan", "near:classifier", "--clips", "3")
    asked = {"plan": served.plan(), "labeller": "ada"}
    assert served.told("POST", "/api/next", asked)["next"] == [one.key for one in sample(clips, plan, 3, 0)]


def test_a_classifier_without_a_rule_is_asked_about_what_it_finds_even(
    dataset: Path, untrained: Untrained
) -> None:
    store = Store(str(dataset))
    applied = untrained(dataset / "classifiers")
    for pack in packs(dataset):
        keys = store.read_table(f"packs/{pack.name}")["key"].to_pylist()
        measured = pa.table(
            {"key": keys, "quality": [0.5] * len(keys), "quality_confidence": [0.5] * len(keys)}
        )
        store.put_table(f"scores/quality-{applied}/{pack.name}", measured)
    plan = resolve_plan(store, read_catalog(store), f"near:{applied}")[1]
    assert plan == f"near:quality-{applied}={EVEN_QUALITY:g}"


def test_no_such_classifier(dataset: Path) -> None:
    store = Store(str(dataset))
    with pytest.raises(UserError, match="0123456789ab: there is none"):
        resolve_plan(store, read_catalog(store), "near:0123456789ab")


def packs(dataset: Path) -> list[Path]:
    """The indexes of the packs, by whose names their scores go."""
    return sorted((dataset / "packs").glob("*.parquet"))
