"""How well the classifier tells gameplay from what was planted between it.

The corpus of `bench.corpus` is built like any dataset, its labels are what was planted, and ResNet18
is cross-validated by source video beside a baseline that knows the cheap scores alone. The same with
labels shuffled has to give about 0.5: otherwise something but the picture gives them away.

A video that is tested on was never learned from, though another level of its game may have been; what was
planted in it has relatives elsewhere, since the few films of `bench/footage`, the words and the font are
those of all videos.

open_clip is not among them: its weights are downloaded, and with random ones it would measure nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from itertools import pairwise
from pathlib import Path

import bench.corpus
from bench.corpus import CorpusVideo, make_corpus
from bench.sources import CACHE, ROOT
from filters.classifier.clips import Clips
from filters.classifier.compare import compare
from filters.classifier.folds import MIN_FOLDS
from filters.classifier.measures import Measured
from filters.classifier.settings import TrainSettings
from filters.labels import read_labels
from pipeline.build import books_of, discover, ingest, read_config
from pipeline.config import BuildConfig
from pipeline.engine import Engine
from pipeline.measure import read_scores
from pipeline.progress import Progress
from shards.codec import CLIP_FRAMES
from shards.errors import UserError
from shards.keys import clip_key, file_video_id
from shards.store import Store

GAMEPLAY = (ROOT / "examples" / "gameplay", ROOT / "bench" / "gameplay")
"""24 sources: games of Procgen, SuperTux and Crafter."""

_FOOTAGE = ROOT / "bench" / "footage"

CHEAP = ("motion", "cuts", "static", "flat", "letterbox")
"""The scorers that the baseline knows: all that look at a clip's own frames and cost 2 ms at most."""

_FOLDS = 5
_AT = "2026-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Corpus:
    """A dataset with known labels.

    Attributes:
        dataset: its folder.
        labels: what was planted, as a label file.
        kinds: kind of piece -> number of clips.
    """

    dataset: Path
    labels: Path
    kinds: Mapping[str, int]


@dataclass(frozen=True)
class Quality:
    """What `genieset bench quality` measured.

    Attributes:
        kinds: kind of piece -> number of clips; `game` is good, all others are bad.
        auc: contender -> area under the ROC, cross-validated by video, with a bootstrap over videos.
        shuffled: the same with the labels shuffled among the videos.
    """

    kinds: Mapping[str, int]
    videos: int
    auc: Mapping[str, Measured]
    shuffled: Mapping[str, Measured]


def bench_quality(
    folders: Sequence[Path], pieces: int, epochs: int, seed: int, engine: Engine, progress: Progress
) -> Quality:
    """Measure on this machine; ResNet18 takes most of the time."""
    corpus = make_dataset(folders, pieces, seed, CHEAP, engine, progress)
    store = Store(str(corpus.dataset))
    ingested = books_of(read_config(store), store).ingested()
    clips = Clips(store, {entry.video_id: entry.pack for entry in ingested})
    scores = read_scores(store, [entry.pack for entry in ingested], CHEAP)
    contenders = [TrainSettings(backbone="resnet18", epochs=epochs, patience=epochs, folds=_FOLDS, seed=seed)]
    labels = read_labels(corpus.labels)
    told = compare(clips, labels, contenders, scores, progress)
    progress.note(", ".join(f"AUC of {name}: {area.value}" for name, area in told.auc.items()))
    shuffled = compare(clips, labels, contenders, scores, progress, shuffled=True)
    return Quality(corpus.kinds, told.videos, told.auc, shuffled.auc)


def make_dataset(
    folders: Sequence[Path],
    pieces: int,
    seed: int,
    scorers: Sequence[str],
    engine: Engine,
    progress: Progress,
) -> Corpus:
    """Compose the corpus and ingest it; what was made by an earlier run is taken from `.bench/`.

    Args:
        folders: of gameplay, one video of each source.
        pieces: clips a video.

    Raises:
        UserError: there are too few videos, or two of one name.
    """
    games = sorted((path for folder in folders for path in folder.glob("*.mp4")), key=lambda path: path.name)
    if len(games) < MIN_FOLDS:
        raise UserError(
            f"{', '.join(map(str, folders))}: {len(games)} mp4 files; give one of each source, "
            f"{MIN_FOLDS} at least"
        )
    for one, other in pairwise(games):
        if one.name == other.name:
            raise UserError(f"{one} and {other} have one name; give each source a name of its own")
    footage = sorted(_FOOTAGE.glob("*.mp4"))
    folder = CACHE / "quality" / corpus_name([*games, *footage], pieces, seed)
    made = []
    for video in make_corpus(games, footage, folder / "videos", pieces, seed):
        made.append(video)
        progress.step("corpus", len(made), len(games), video.path.name)
    dataset = folder / "dataset"
    config = BuildConfig.model_validate(
        {
            "dataset": str(dataset),
            "sources": [{"kind": "files", "path": str(folder / "videos")}],
            "scorers": list(scorers),
        }
    )
    discover(config, progress)
    ingest(config, engine, progress)
    labels = folder / "labels.jsonl"
    _write(labels, made)
    kinds = [piece.kind for video in made for piece in video.pieces]
    return Corpus(dataset, labels, {kind: kinds.count(kind) for kind in sorted(set(kinds))})


def corpus_name(videos: Sequence[Path], pieces: int, seed: int) -> str:
    """A name for a corpus by all that it is made of, so that none is taken for another."""
    recipe = hashlib.sha256(f"{pieces}-{seed}".encode())
    for path in (*videos, Path(bench.corpus.__file__)):
        with path.open("rb") as file:
            recipe.update(path.stem.encode() + file_digest(file, "sha256").digest())
    return recipe.hexdigest()[:12]


def _write(path: Path, videos: Sequence[CorpusVideo]) -> None:
    """A row for each clip; piece `n` of a video is its clip from frame `160 * n` on."""
    with path.open("w") as file:
        for video in videos:
            with video.path.open("rb") as source:
                video_id = file_video_id(file_digest(source, "sha256").hexdigest())
            for place, piece in enumerate(video.pieces):
                row = {"key": clip_key(video_id, CLIP_FRAMES * place), "label": piece.label}
                print(json.dumps(row | {"labeller": "provenance", "at": _AT}), file=file)
