"""Training on a small dataset with an easy difference, and what is kept of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from filters.base import ClipFrames, load_scorers, measure, score_names, scorer_folder
from filters.classifier.artifact import load_classifier, read_card, save_classifier
from filters.classifier.compare import compare
from filters.classifier.evaluate import evaluate
from filters.classifier.folds import hash_videos
from filters.classifier.settings import TrainSettings
from filters.classifier.train import Trained, started_with, train
from filters.labels import read_labels
from shards.errors import UserError
from shards.index import decode_frames, read_clip, read_index
from shards.store import Store
from tests.quiet import Quiet

# Of sixteen good clips no more than a precision of 0.83 is sure, of two folds' ten no more than 0.74.
RESNET = TrainSettings(
    frames=2,
    size_px=(40, 24),
    epochs=12,
    patience=6,
    folds=3,
    batch_clips=8,
    seed=1,
    target_precision=0.6,
)

TINY: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 1, "layers": 1},
}


@pytest.fixture
def tiny(tmp_path: Path) -> TrainSettings:
    """A tiny model of open_clip with random weights, from local files."""
    return tiny_model(tmp_path, TINY)


def tiny_model(tmp_path: Path, config_json: dict[str, Any]) -> TrainSettings:
    config = tmp_path / "tiny-clip.json"
    config.write_text(json.dumps(config_json))
    open_clip.add_model_config(config)
    torch.manual_seed(0)
    save_file(open_clip.create_model("tiny-clip").state_dict(), tmp_path / "tiny.safetensors")
    return TrainSettings(
        backbone="open_clip", frames=2, folds=3, model=str(config), weights=str(tmp_path / "tiny.safetensors")
    )


@pytest.fixture(scope="module")
def trained(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    rows = [{"key": key, "label": 5 if good else 1} for key, good in small.good.items()]
    usual = {"labeller": "ann", "at": "2026-01-02T03:04:05Z"}
    path.write_text("\n".join(json.dumps(usual | row) for row in rows))
    return train(small.clips, read_labels(path), RESNET, Quiet())


def test_it_learns_an_easy_difference_and_its_rule_meets_the_target(trained: Trained) -> None:
    card = trained.card
    auc, precision = card.metrics["auc"], card.metrics["precision"]
    assert auc.value is not None
    assert auc.value > 0.95
    assert auc.low is not None
    assert auc.low > 0.6
    assert precision.value is not None
    assert precision.value >= 0.9
    assert card.rule is not None
    assert card.rule.target == "precision 0.6"
    assert card.counts == {"1": 16, "2": 0, "3": 0, "4": 0, "5": 16}
    assert not set(card.train) & set(card.validation)
    assert "file-" not in card.model_dump_json()  # what forgets a video finds nothing to change there
    assert {*card.train, *card.validation} == set(hash_videos([f"file-{n}" for n in range(8)]))


def test_the_same_labels_make_the_same_classifier(trained: Trained, small: Any, labels: Path) -> None:
    short = RESNET.model_copy(update={"epochs": 2})
    once, again = (train(small.clips, read_labels(labels), short, Quiet()) for _ in range(2))
    assert again.card.labels == trained.card.labels
    assert again.card == once.card
    assert again.card.id == once.card.id != trained.card.id
    assert again.weights == once.weights


def test_a_card_comes_back_as_it_was_and_its_scorer_measures(
    trained: Trained, small: Any, tmp_path: Path
) -> None:
    location = str(tmp_path / save_classifier(Store(tmp_path), trained.card, trained.weights))
    assert read_card(location) == trained.card
    called = f"quality@{location}"
    assert scorer_folder(called) == f"scores/quality-{trained.card.id}"
    assert score_names(called) == ("quality", "quality_confidence")
    (scorer,) = load_scorers((called,))
    right = 0
    for pack in small.packs.values():
        for placed in read_index(small.store, pack):
            frames = decode_frames(read_clip(small.store, pack, placed))
            clip = ClipFrames(frames, placed.clip.content_box, 10)
            scores = measure([scorer], clip)
            assert scores == measure([scorer], clip)
            right += (scores[called]["quality"] > 0.5) == small.good[placed.clip.key]
    assert right >= 30


def test_shuffled_labels_teach_nothing_and_the_scores_are_a_baseline(
    small: Any, tiny: TrainSettings, labels: Path
) -> None:
    rng = np.random.default_rng(0)
    told = {
        key: {"noise": float(rng.random()), "bright": 2 * good + float(rng.random())}
        for key, good in small.good.items()
    }
    found = compare(small.clips, read_labels(labels), [tiny], told, Quiet())
    assert found.auc.keys() == {"scores", "open_clip"}
    assert found.auc["scores"].value == 1.0
    (difference,) = found.differences.values()
    assert found.differences.keys() == {("open_clip", "scores")}
    assert difference.value == pytest.approx((found.auc["open_clip"].value or 0) - 1, abs=1e-4)
    assert found.precision.keys() == found.recall.keys() == found.auc.keys()
    alone = compare(small.clips, read_labels(labels), [tiny], {}, Quiet())
    assert (alone.auc.keys(), alone.differences, alone.clips) == ({"open_clip"}, {}, 32)
    assert alone.auc["open_clip"] == found.auc["open_clip"]
    # Of many shuffles the mean: of one alone, eight videos say little.
    areas = [
        compare(
            small.clips,
            read_labels(labels),
            [tiny.model_copy(update={"seed": seed})],
            told,
            Quiet(),
            shuffled=True,
        )
        .auc["open_clip"]
        .value
        for seed in range(6)
    ]
    assert 0.3 < np.mean([area for area in areas if area is not None]) < 0.7
    told.popitem()
    with pytest.raises(UserError, match=r"was not measured; `genieset ingest` does"):
        compare(small.clips, read_labels(labels), [tiny], told, Quiet())


def test_a_probe_on_open_clip_is_trained_and_needs_its_files_no_more(
    small: Any, tiny: TrainSettings, labels: Path, tmp_path: Path
) -> None:
    trained = train(small.clips, read_labels(labels), tiny, Quiet())
    again = train(small.clips, read_labels(labels), tiny, Quiet())
    assert trained.card.id == again.card.id
    assert str(tmp_path) not in trained.card.model_dump_json()
    location = str(tmp_path / save_classifier(Store(tmp_path), trained.card, trained.weights))
    Path(tiny.model).unlink()
    Path(tiny.weights or "").unlink()
    found = evaluate(
        small.clips, read_labels(labels), load_classifier(location), {}, lambda *_: None, with_trained=True
    )
    assert found.auc.value is not None
    assert found.auc.value > 0.8
    assert (trained.card.look.width_px, trained.card.look.height_px) == (32, 32)


def test_a_tower_that_tells_of_parts_of_a_picture_too_is_a_backbone(
    small: Any, labels: Path, tmp_path: Path
) -> None:
    settings = tiny_model(tmp_path, TINY | {"vision_cfg": TINY["vision_cfg"] | {"output_tokens": True}})
    trained = train(small.clips, read_labels(labels), settings, Quiet())
    location = str(tmp_path / save_classifier(Store(tmp_path), trained.card, trained.weights))
    found = evaluate(
        small.clips, read_labels(labels), load_classifier(location), {}, lambda *_: None, with_trained=True
    )
    assert found.auc.value is not None
    assert found.auc.value > 0.8


def test_a_test_leaves_out_what_was_trained_on_and_counts_by_label_source_and_video(
    trained: Trained, small: Any, write_labels: Callable[..., Path], labels: Path, tmp_path: Path
) -> None:
    location = str(tmp_path / save_classifier(Store(tmp_path), trained.card, trained.weights))
    classifier = load_classifier(location)
    with pytest.raises(UserError, match="all labels are of videos that the classifier was trained on"):
        evaluate(small.clips, read_labels(labels), classifier, {}, lambda *_: None)
    held = trained.card.model_copy(update={"train": [], "validation": hash_videos(["file-0"])})
    rows = [{"key": key, "label": 4 if good else 1} for key, good in small.good.items()]
    rows += [{"key": key, "label": 5} for key, good in list(small.good.items())[4:8] if good]
    for row in rows[len(small.good) :]:
        row["at"] = "2027-01-01"
    found = evaluate(
        small.clips,
        read_labels(write_labels(rows)),
        type(classifier)(held, classifier.model),
        dict.fromkeys(small.packs, "files"),
        lambda *_: None,
    )
    assert (found.clips, found.videos, found.left_out, found.left_out_videos) == (28, 7, 4, 1)
    assert {label: group.clips for label, group in found.by_label.items()} == {"1": 14, "4": 12, "5": 2}
    assert found.by_label["1"].kept <= 3
    assert found.by_label["4"].share.value is not None
    assert found.by_source.keys() == {"files"}
    assert found.by_video.keys() == small.packs.keys() - {"file-0"}
    assert {group.share.low for group in found.by_video.values()} == {None}
    assert found.recall is not None


def test_a_start_is_read_from_a_local_file_and_another_model_s_is_refused(
    trained: Trained, small: Any, labels: Path, tmp_path: Path
) -> None:
    import torchvision

    torch.manual_seed(3)
    path = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    settings = RESNET.model_copy(update={"init": path, "epochs": 1})
    found = train(small.clips, read_labels(labels), settings, Quiet()).card
    assert found.id != trained.card.id
    assert found.start == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert (trained.card.start, trained.card.device) == ("random", "cpu")
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    settings = RESNET.model_copy(update={"init": tmp_path / "other.safetensors"})
    with pytest.raises(UserError, match=r"--init .*other.safetensors: is not a state dict of torchvision's"):
        train(small.clips, read_labels(labels), settings, Quiet())


def test_a_card_says_what_the_weights_were_that_it_began_with(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"w")
    told = f"sha256:{hashlib.sha256(b'w').hexdigest()}"
    probe = RESNET.model_copy(update={"backbone": "open_clip"})
    assert started_with(RESNET) == "random"
    assert started_with(RESNET.model_copy(update={"init": path})) == told
    assert started_with(probe.model_copy(update={"weights": str(path), "init": path})) == told
    assert started_with(probe.model_copy(update={"weights": "laion2b_s34b_b79k"})) == "laion2b_s34b_b79k"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"init": Path("nowhere.pth")}, r"--init nowhere.pth: cannot be read"),
        ({"device": "cuda:7"}, "--device cuda:7: is not on this machine"),
        ({"device": "gpu"}, "--device gpu: is no device; give cpu, cuda"),
        ({"backbone": "open_clip"}, r"--weights \(none\): open_clip's ViT-B-32 needs weights; .* openai"),
        ({"backbone": "open_clip", "model": "ViT-B-33"}, "--model ViT-B-33: open_clip knows no such model"),
        ({"backbone": "open_clip", "model": "no.json"}, "--model no.json: cannot be read"),
    ],
)
def test_what_is_not_there_is_one_line(
    small: Any, labels: Path, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message) as told:
        train(small.clips, read_labels(labels), RESNET.model_copy(update=changed), Quiet())
    assert "\n" not in str(told.value)


def test_a_file_that_is_no_weights_is_told(tmp_path: Path, small: Any, labels: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not weights")
    for changed in ({"init": path}, {"backbone": "open_clip", "weights": str(path)}):
        with pytest.raises(UserError, match=r"weights.pth: cannot be"):
            train(small.clips, read_labels(labels), RESNET.model_copy(update=changed), Quiet())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "there is none; `genieset classifier train` makes one"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is damaged or missing"),
        (lambda folder: flip(folder / "model.safetensors"), "model.safetensors is damaged or missing"),
        (lambda folder: (folder / "card.json").write_text("{}"), "card.json is damaged or no classifier's"),
        (lambda folder: (folder / "card.json").write_bytes(b"\xff\x00"), "card.json is damaged or no"),
        (lambda folder: change(folder, temperature=2.0), "card.json is not the one it was saved with"),
        (lambda folder: change(folder, version=99), "is of version 99, this Genieset reads 2"),
    ],
)
def test_a_damaged_classifier_is_one_line(
    trained: Trained, tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    folder = tmp_path / save_classifier(Store(tmp_path), trained.card, trained.weights)
    damage(folder)
    with pytest.raises(UserError, match=message) as told:
        load_scorers((f"quality@{folder}",))
    assert str(told.value).startswith(f"classifier {folder}: ")
    assert "\n" not in str(told.value)


def test_weights_of_another_model_do_not_fit(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / save_classifier(Store(tmp_path), trained.card, trained.weights)
    tensors = load_file(folder / "model.safetensors") | {"fc.weight": torch.zeros(2, 512)}
    from safetensors.torch import save

    from filters.classifier.artifact import Card

    weights = save(tensors)
    card = Card(**trained.card.model_dump() | {"weights": hashlib.sha256(weights).hexdigest()})
    other = tmp_path / save_classifier(Store(tmp_path), card, weights)
    with pytest.raises(UserError, match=r"model\.safetensors does not fit its card"):
        load_classifier(str(other))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def change(folder: Path, **fields: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | fields))
