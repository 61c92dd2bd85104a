"""The commands of the learned quality classifier."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import classifier_figures as figures
from commands import screen
from commands.arguments import Dataset, Jobs, Json, RayAddress
from shards.errors import UserError

if TYPE_CHECKING:
    from filters.classifier.clips import Clips
    from filters.classifier.settings import TrainSettings
    from filters.classifier.train import Progress
    from filters.labels import LabelFile
    from pipeline.ledger import Books
    from shards.store import Store

Labels = Annotated[
    Path, typer.Option("--labels", help="JSONL or Parquet: key or video_id, label 1-5, labeller, at.")
]
Place = Annotated[str, typer.Argument(metavar="CLASSIFIER", help="The id of a classifier, or its folder.")]
Device = Annotated[str, typer.Option(help="Where it is computed: cpu, cuda, cuda:1, ...")]
Frames = Annotated[int, typer.Option(min=1, help="How many frames of a clip are looked at.")]
Folds = Annotated[int, typer.Option(min=3, help="Into how many parts the videos are split, at most.")]
Epochs = Annotated[int, typer.Option(min=1, help="How long ResNet18 learns, at most.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the CPU; another number, another id.")]
Seed = Annotated[int, typer.Option(min=0)]
Init = Annotated[
    Path | None, typer.Option(help="A state dict that ResNet18 begins with, e.g. torchvision's.")
]
Model = Annotated[str, typer.Option(help="A model of open_clip, or a JSON file in its format.")]
Weights = Annotated[
    str | None, typer.Option(metavar="TAG|FILE", help="Weights of open_clip's model; a tag is downloaded.")
]


def train(
    dataset: Dataset,
    labels: Labels,
    backbone: Annotated[str, typer.Option(help="resnet18 or open_clip.")] = "resnet18",
    frames: Frames = 8,
    init: Init = None,
    model: Model = "ViT-B-32",
    weights: Weights = None,
    target_precision: Annotated[
        float | None,
        typer.Option(
            help="The share of good clips among the kept, at least, with 95% confidence; 0.9 by default."
        ),
    ] = None,
    keep_share: Annotated[
        float | None, typer.Option(help="Instead: the share of the labelled clips that are kept.")
    ] = None,
    folds: Folds = 5,
    epochs: Epochs = 60,
    seed: Seed = 0,
    threads: Threads = 1,
    device: Device = "cpu",
    out: Annotated[
        str | None, typer.Option(help="The folder to put it in; the dataset's classifiers/ by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Learn from labels which clips are good; the classifier is kept with a card that says how well."""
    from filters.classifier.artifact import save_classifier
    from filters.classifier.train import train as train_classifier
    from shards.runs import writing
    from shards.store import Store

    if target_precision is not None and keep_share is not None:
        raise UserError("--target-precision and --keep-share: are two rules; give one of them")
    if backbone == "resnet18" and weights is not None:
        raise UserError("--weights: is of open_clip; give --backbone open_clip, or --init FILE for resnet18")
    if backbone == "open_clip" and init is not None:
        raise UserError("--init: is of resnet18; give --weights TAG or FILE for open_clip")
    settings = _settings(
        backbone=backbone,
        frames=frames,
        init=init,
        model=model,
        weights=weights,
        target_precision=0.9 if target_precision is None else target_precision,
        keep_share=keep_share,
        folds=folds,
        epochs=epochs,
        seed=seed,
        threads=threads,
        device=device,
    )
    store = Store(dataset)
    place = Store(out or f"{store.everywhere}/classifiers")
    with writing(store, "classifier"):
        clips, books = _clips(store)
        with screen.progress() as progress:
            trained = train_classifier(clips, _labels(labels, books, progress), settings, progress)
        classifier_id, card = save_classifier(place, trained.card, trained.weights), trained.card
    if as_json:
        screen.print_json(
            {"id": classifier_id, "folder": f"{place.everywhere}/{classifier_id}"}
            | card.model_dump(mode="json", include={"metrics", "rule", "counts", "folds", "temperature"})
            | {"sql": card.rule.sql if card.rule else None}
        )
    else:
        screen.print_rows(
            f"on held-out labels, cross-validated over {card.folds} folds of videos, with 95% intervals",
            {name: figures.figure(value) for name, value in card.metrics.items()},
        )
        screen.say(
            f"classifier {classifier_id} in {place.everywhere}/{classifier_id}: "
            + (card.rule.sql if card.rule else "no rule")
        )
    if card.rule is None:
        print(
            f"error: no rule reaches the target of {figures.target(settings)} on held-out labels"
            f"{figures.reached(trained.told, settings)}; label more clips, or ask for less",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def evaluate(
    dataset: Dataset,
    classifier: Place,
    labels: Labels,
    everything: Annotated[
        bool, typer.Option("--all", help="Test on videos that it was trained on too; that flatters it.")
    ] = False,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Test a classifier on labels of videos that it was not trained on."""
    from filters.classifier.artifact import load_classifier
    from filters.classifier.backbones import check_device, on_threads
    from filters.classifier.evaluate import evaluate as run
    from pipeline.classifier import find_classifier
    from shards.store import Store

    store = Store(dataset)
    check_device(device)
    loaded = load_classifier(find_classifier(store, classifier), device)
    clips, books = _clips(store)
    sources = dict(zip(*(books.rows[name].to_pylist() for name in ("video_id", "source")), strict=True))
    # As when it is applied: equal sums of equal parts.
    with screen.progress() as progress, on_threads(1):
        found = run(
            clips,
            _labels(labels, books, progress),
            loaded,
            sources,
            lambda done, total: progress.step("look", done, total, "clips"),
            with_trained=everything,
        )
    if as_json:
        screen.print_json(
            figures.as_json(asdict(found)) | {"sql": loaded.card.rule.sql if loaded.card.rule else None}
        )
        return
    figures.print_evaluation(found)
    screen.say(
        f"{found.clips} clips of {found.videos} videos: AUC {figures.figure(found.auc)}"
        + ("" if found.precision is None else f", precision {figures.figure(found.precision)}")
        + (
            f"; left out {found.left_out} clips of {found.left_out_videos} videos it was trained on"
            if found.left_out
            else ""
        )
    )


def compare(
    dataset: Dataset,
    labels: Labels,
    backbones: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone", help="May be repeated; by default resnet18, and open_clip with --weights."
        ),
    ] = None,
    frames: Frames = 8,
    init: Init = None,
    model: Model = "ViT-B-32",
    weights: Weights = None,
    folds: Folds = 5,
    epochs: Epochs = 60,
    seed: Seed = 0,
    threads: Threads = 1,
    device: Device = "cpu",
    shuffled: Annotated[
        bool, typer.Option("--shuffled", help="Shuffle the labels among the videos first: AUC about 0.5.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Cross-validate the backbones on the same folds, and a baseline that knows the other scores alone."""
    from filters.classifier.compare import compare as run
    from shards.store import Store

    names = backbones or ["resnet18", *(["open_clip"] if weights else [])]
    contenders = [
        _settings(
            backbone=name,
            frames=frames,
            init=init,
            model=model,
            weights=weights,
            folds=folds,
            epochs=epochs,
            seed=seed,
            threads=threads,
            device=device,
        )
        for name in names
    ]
    store = Store(dataset)
    clips, books = _clips(store)
    with screen.progress() as progress:
        told = _labels(labels, books, progress)
        found = run(clips, told, contenders, _scores(store, progress), progress, shuffled=shuffled)
    if as_json:
        screen.print_json(figures.comparison_json(found))
    else:
        figures.print_comparison(found)


def apply(
    dataset: Dataset,
    classifier: Place,
    jobs: Jobs = 1,
    ray_address: RayAddress = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure the quality of every clip of a dataset."""
    from filters.base import scorer_folder
    from filters.classifier.artifact import read_card
    from pipeline.build import books_of, read_config
    from pipeline.classifier import find_classifier
    from pipeline.config import QUALITY
    from pipeline.engine.choose import open_engine
    from pipeline.measure import measure_missing
    from shards.runs import writing
    from shards.store import Store

    _check_place(device, jobs, ray_address)
    store = Store(dataset)
    location = find_classifier(store, classifier)
    card = read_card(location)
    scorer = f"{QUALITY}@{location}"
    with (
        writing(store, "classifier"),
        open_engine(jobs, ray_address) as engine,
        screen.progress() as progress,
    ):
        ingested = books_of(read_config(store), store).ingested()
        packs = measure_missing(store, ingested, (scorer,), engine, progress, device)
    clips = sum(entry.clips for entry in ingested)
    if as_json:
        screen.print_json(
            {"id": card.id, "folder": scorer_folder(scorer), "clips": clips, "packs_measured": packs}
        )
    else:
        screen.say(
            f"{clips} clips have a quality in {scorer_folder(scorer)}; {packs} packs were measured now"
        )


def _check_place(device: str, jobs: int, ray_address: str | None) -> None:
    """Whether there is such a device where the work will be done."""
    from filters.classifier.backbones import check_device

    if (jobs > 1 or ray_address is not None) and device not in ("cpu", "cuda"):
        raise UserError(f"--device {device}: Ray gives each job a GPU of its own; give cpu or cuda")
    if ray_address is None:
        check_device(device)


def _settings(**given: Any) -> TrainSettings:
    from pydantic import ValidationError

    from filters.classifier.settings import TrainSettings

    try:
        return TrainSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UserError(f"--{option} {first['input']}: {first['msg'].replace('Input ', '')}") from None


def _clips(store: Store) -> tuple[Clips, Books]:
    """The clips of a dataset, and its books."""
    from filters.classifier.clips import Clips
    from pipeline.build import books_of, read_config

    books = books_of(read_config(store), store)
    return Clips(store, {entry.video_id: entry.pack for entry in books.ingested()}), books


def _labels(path: Path, books: Books, progress: Progress) -> LabelFile:
    """The labels in a file, without those of videos that have no clips now; a note says how many."""
    from filters.labels import read_labels, set_lost_aside
    from pipeline.outcomes import INGESTED

    states = dict(zip(*(books.rows[name].to_pylist() for name in ("video_id", "state")), strict=True))
    kept, aside = set_lost_aside(
        read_labels(path), lambda video_id: states.get(video_id, INGESTED) != INGESTED
    )
    if aside.labels:
        progress.note(
            f"{path}: set aside {aside.labels} labels of {aside.videos} videos whose clips are no longer in "
            "the dataset"
        )
    return kept


def _scores(store: Store, progress: Progress) -> Mapping[str, Mapping[str, float]]:
    """What the cheap scorers have measured, clip -> score -> value; nothing, and a note, if none has."""
    from filters.base import score_names, wide_scorers
    from pipeline.build import books_of, read_config
    from pipeline.measure import read_scores

    config = read_config(store)
    cheap = [name for name in config.scorers if score_names(name) and not wide_scorers((name,))]
    if not cheap:
        progress.note("no scorer of this dataset measures what a baseline could learn from; it is left out")
        return {}
    return read_scores(store, [entry.pack for entry in books_of(config, store).ingested()], cheap)
