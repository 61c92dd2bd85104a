"""The classifier in a build: named in the config, measured with the rest, and the rule of its card."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from commands.classifying import _labels, _scores
from filters.classifier.decide import Rule
from pipeline.build import build, curate
from pipeline.classifier import resolve_rules
from pipeline.config import BuildConfig, load_config
from pipeline.engine import Done
from pipeline.engine.child import OneChild
from pipeline.ledger import Books, Ingested
from pipeline.measure import measure_missing
from pipeline.status import read_status
from shards.errors import SettingError, UserError
from shards.store import Store
from tests.quiet import Quiet

WriteConfig = Callable[..., Path]


Untrained = Callable[..., str]
EVERY = Rule(quality=0.0, confidence=0.0, target="all")
NONE = Rule(quality=1.0, confidence=1.0, target="none")


@pytest.fixture
def config(moving: Path, write_config: WriteConfig) -> Path:
    return write_config([{"kind": "files", "path": str(moving)}], curate={"rules": {"quality": "classifier"}})


def genieset(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def test_a_build_measures_quality_and_keeps_by_the_rule_of_the_card(
    config: Path, tmp_path: Path, untrained: Untrained
) -> None:
    chosen = untrained(tmp_path / "dataset" / "classifiers", EVERY)
    settings = load_config(config, [f"classifier={chosen}"])
    built = build(settings, OneChild(), Quiet())
    assert built.funnel.kept == 2
    scores = list((tmp_path / "dataset" / "scores" / f"quality-{chosen}").iterdir())
    assert len(scores) == 1
    table = curate(settings).clips
    assert {"motion", "cuts", "quality", "quality_confidence"} <= set(table.column_names)
    assert all(0 <= value <= 1 for value in table["quality"].to_pylist())

    # From elsewhere it is the same classifier, measured already, and the same recipe.
    shutil.copytree(tmp_path / "dataset" / "classifiers", tmp_path / "elsewhere")
    moved = load_config(config, [f"classifier={tmp_path / 'elsewhere' / chosen}"])
    assert moved.recipe == settings.recipe
    assert moved.recipe["classifier"] == chosen
    before = scores[0].stat().st_mtime_ns
    assert build(moved, OneChild(), Quiet()).version.number == built.version.number
    assert scores[0].stat().st_mtime_ns == before


def test_another_classifier_measures_from_packs_and_decides_anew(
    config: Path, tmp_path: Path, untrained: Untrained
) -> None:
    plain = load_config(config, ["curate.rules={}"])
    assert "classifier" not in plain.recipe
    build(plain, OneChild(), Quiet())
    other = untrained(tmp_path / "models", NONE)
    applied = genieset("classifier", "apply", plain.dataset, str(tmp_path / "models" / other))
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout == f"2 clips have a quality in scores/quality-{other}; 1 packs were measured now\n"
    # On Ray it is the same work, so the same bytes.
    (scores,) = (Path(plain.dataset) / "scores" / f"quality-{other}").iterdir()
    before = scores.read_bytes()
    scores.unlink()
    on_ray = genieset("classifier", "apply", plain.dataset, str(tmp_path / "models" / other), "--jobs", "2")
    assert on_ray.returncode == 0, on_ray.stderr
    assert scores.read_bytes() == before
    again = genieset("classifier", "apply", plain.dataset, str(tmp_path / "models" / other), "--json")
    assert json.loads(again.stdout)["packs_measured"] == 0
    assert other.startswith("c"), "an id of digits alone would be a number to YAML"
    decided = curate(load_config(config, [f"classifier={tmp_path / 'models' / other}"]))
    assert decided.clips["decision"].to_pylist() == ["dropped:quality"] * 2
    assert read_status(Store(plain.dataset)).balanced


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda pack: pack.unlink(), "is missing, or its index is"),
        (lambda pack: pack.write_bytes(pack.read_bytes().replace(b"mdat", b"mdaX")), r"is damaged \(.*crc32"),
    ],
)
def test_a_pack_that_is_lost_or_damaged_is_one_line(
    harm: Callable[[Path], object], said: str, config: Path, tmp_path: Path, untrained: Untrained
) -> None:
    plain = load_config(config, ["curate.rules={}"])
    build(plain, OneChild(), Quiet())
    (pack,) = (Path(plain.dataset) / "packs").glob("*.tar")
    harm(pack)
    chosen = untrained(Path(plain.dataset) / "classifiers", NONE)
    with pytest.raises(UserError, match=f"^{pack}: {said}.*; bring it back from a copy"):
        measure_missing(
            Store(plain.dataset),
            [Ingested("v", f"packs/{pack.name}", 2)],
            (f"quality@{plain.dataset}/classifiers/{chosen}",),
            OneChild(),
            Quiet(),
        )


def test_labels_of_a_video_that_opted_out_are_set_aside_with_a_note(tmp_path: Path) -> None:
    notes: list[str] = []

    class Noting(Quiet):
        def note(self, message: str) -> None:
            notes.append(message)

    path = tmp_path / "labels.jsonl"
    usual = {"label": 5, "labeller": "me", "at": "2026-05-06"}
    path.write_text("\n".join(json.dumps({"video_id": name} | usual) for name in ("a", "b", "c")))
    books = Books(pa.table({"video_id": ["a", "b"], "state": ["ingested", "opted_out"]}))
    kept = _labels(path, books, Noting())
    # Nobody has heard of c, which is told where its clips are asked for.
    assert [row.video_id for row in kept.rows] == ["a", "c"]
    assert notes == [f"{path}: set aside 1 labels of 1 videos whose clips are no longer in the dataset"]


@pytest.mark.parametrize("scorers", [[], ["fingerprint"]])
def test_a_dataset_without_cheap_scores_has_no_baseline(
    moving: Path, write_config: WriteConfig, scorers: list[str]
) -> None:
    config = load_config(write_config([{"kind": "files", "path": str(moving)}], scorers=scorers))
    build(config, OneChild(), Quiet())
    notes: list[str] = []

    class Noting(Quiet):
        def note(self, message: str) -> None:
            notes.append(message)

    assert _scores(Store(config.dataset), Noting()) == {}
    assert notes == ["no scorer of this dataset measures what a baseline could learn from; it is left out"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "cuda:7"), "--device cuda:7: is not on this machine"),
        (("--device", "cuda:1", "--jobs", "2"), "--device cuda:1: Ray gives each job a GPU of its own"),
    ],
)
def test_a_device_that_is_not_there_is_told_before_any_work(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    found = genieset("classifier", "apply", str(tmp_path), "0123456789ab", *options)
    assert found.returncode == 2
    assert message in found.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weights", "some.pt"), "--weights: is of open_clip; give --backbone open_clip"),
        (("--backbone", "open_clip", "--init", "some.pt"), "--init: is of resnet18; give --weights"),
    ],
)
def test_an_option_of_the_other_backbone_is_not_passed_over(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "labels.jsonl").touch()
    found = genieset(
        "classifier", "train", str(tmp_path), "--labels", str(tmp_path / "labels.jsonl"), *options
    )
    assert found.returncode == 2
    assert message in found.stderr


def test_measuring_on_cuda_asks_the_engine_for_a_gpu(tmp_path: Path) -> None:
    sides = []

    class Asked:
        def run(self, function: Any, units: Any, first: Any, *, alone: bool = False) -> Any:
            for unit in units:
                sides.append(first(unit).side)
                yield unit, Done(0)

    ingested = [Ingested("v", "packs/v-0-0.tar", 3)]
    for device in ("cpu", "cuda"):
        measure_missing(Store(tmp_path), ingested, ("motion",), Asked(), Quiet(), device)
    assert sides == ["cpu", "gpu"]


def settings_with(tmp_path: Path, **keys: Any) -> BuildConfig:
    sources = [{"kind": "files", "path": str(tmp_path)}]
    return BuildConfig.model_validate({"dataset": str(tmp_path), "sources": sources, **keys})


RULES = {"rules": {"moving": "motion > 0", "good": "classifier"}}


def test_the_rule_is_the_card_s_and_stands_where_it_stood(tmp_path: Path, untrained: Untrained) -> None:
    chosen = untrained(tmp_path / "classifiers", Rule(quality=0.71, confidence=0.4, target="precision 0.9"))
    found = resolve_rules(settings_with(tmp_path, classifier=chosen, curate=RULES))
    assert list(found.items()) == [
        ("moving", "motion > 0"),
        ("good", "quality >= 0.71 AND quality_confidence >= 0.4"),
    ]


def test_what_is_wrong_with_the_classifier_names_its_key(tmp_path: Path, untrained: Untrained) -> None:
    with pytest.raises(
        SettingError, match=r"curate\.rules\.good: is `classifier`, and no classifier is named"
    ):
        resolve_rules(settings_with(tmp_path, curate=RULES))
    with pytest.raises(
        SettingError, match=r"classifier: classifier .*/classifiers/0123456789ab: there is none"
    ):
        resolve_rules(settings_with(tmp_path, classifier="0123456789ab", curate=RULES))
    without = untrained(tmp_path / "classifiers", None)
    with pytest.raises(SettingError, match=r"curate\.rules\.good: the classifier has no rule"):
        resolve_rules(settings_with(tmp_path, classifier=without, curate=RULES))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("classifier=models/mine", "classifier: 'models/mine' is no classifier; give its id, 12 of"),
        (
            "scorers=[quality]",
            "scorers: 'quality' needs a trained classifier; name it with the key classifier",
        ),
        ("classifer=x", "classifer: no such key; did you mean classifier"),
    ],
)
def test_a_wrong_key_is_one_line(config: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(config, [override])


def test_a_build_stops_before_any_work_when_the_classifier_is_not_there(config: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="there is none; `genieset classifier train` makes one"):
        build(load_config(config, ["classifier=0123456789ab"]), OneChild(), Quiet())
    assert not list((tmp_path / "dataset").glob("packs/*"))


def test_from_videos_and_labels_to_a_dataset_of_good_clips(
    make_video: Any, write_config: WriteConfig, tmp_path: Path
) -> None:
    """The whole way by the command: build, label, compare, train, test, apply, build again."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(6):
        source = f"{'testsrc2=' if number % 2 else 'color=blue:'}size=64x36:rate=10:duration={64 + number}"
        shutil.copy(make_video(f"v{number}.mp4", source, vf=f"hue=h={7 * number}"), folder)
    path = write_config([{"kind": "files", "path": str(folder)}])
    dataset = str(tmp_path / "dataset")
    assert genieset("build", str(path)).returncode == 0
    clips = curate(load_config(path)).clips
    rows = [
        {"key": key, "label": 5 if motion > 0.0001 else 1, "labeller": "me", "at": "2026-05-06"}
        for key, motion in zip(clips["key"].to_pylist(), clips["motion"].to_pylist(), strict=True)
    ]
    assert [row["label"] for row in rows].count(5) == 12
    labels = tmp_path / "labels.jsonl"
    labels.write_text("\n".join(map(json.dumps, rows)))
    small = ["--labels", str(labels), "--frames", "1", "--folds", "3", "--epochs"]
    compared = genieset("classifier", "compare", dataset, *small, "1", "--json")
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["auc"]["scores"]["value"] == 1.0
    refused = genieset("classifier", "train", dataset, *small, "1")
    assert refused.returncode == 1
    # Good clips are in three videos: whatever the rule, that is no evidence.
    last = refused.stderr.splitlines()[-1]
    assert re.fullmatch(
        r"error: no rule reaches the target of precision 0\.9 on held-out labels: the surest has 0\.\d{3}, "
        r"0\.\d{3} at least, and keeps \d+ labelled clips of [56] videos; label more clips, or ask for less",
        last,
    ), last
    trained = genieset("classifier", "train", dataset, *small, "3", "--keep-share", "0.5", "--json")
    assert trained.returncode == 0, trained.stderr
    told = json.loads(trained.stdout)
    assert told["folder"] == f"{dataset}/classifiers/{told['id']}"
    refused = genieset("classifier", "eval", dataset, told["id"], "--labels", str(labels))
    assert refused.returncode == 2
    assert "all labels are of videos that the classifier was trained on; label others, or" in refused.stderr
    tested = genieset("classifier", "eval", dataset, told["id"], "--labels", str(labels), "--all")
    assert tested.returncode == 0, tested.stderr
    assert tested.stdout.splitlines()[-1].startswith("24 clips of 6 videos: AUC 1.000")
    rules = ["--set", f"classifier={told['id']}", "--set", "curate.rules={quality: classifier}"]
    assert genieset("build", str(path), *rules).returncode == 0
    assert read_status(Store(dataset)).clips == {"dropped:quality": 12, "kept": 12}
