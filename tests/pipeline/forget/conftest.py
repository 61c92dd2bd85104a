"""A dataset with a bit of everything that can hold a video."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from filters.classifier.artifact import save_classifier
from filters.classifier.folds import hash_videos
from labelling.answers import Answer, Answers, export
from labelling.database import Database
from labelling.purge import find_labels, purge_labels
from labelling.queue import open_queue
from pipeline.build import build
from pipeline.config import BuildConfig
from pipeline.engine.child import OneChild
from pipeline.forget import Labels
from shards.catalog import read_clips
from shards.export.base import export_kinds
from shards.export.write import export_version
from shards.garbage import collect_garbage
from shards.keys import file_video_id
from shards.manifest import read_version
from shards.store import Store
from tests.cards import empty_card
from tests.published import publish_hostile
from tests.quiet import Quiet

LABELS = Labels(find_labels, purge_labels)

NOBODY = 9_999_999
"""The number of no process: Linux gives none above 4,194,304."""


@dataclass(frozen=True)
class Dataset:
    """A dataset.

    Attributes:
        ids: of the videos with moving clips: of no channel, of `channel ...`, of no channel.
    """

    config: BuildConfig
    ids: tuple[str, ...]

    @property
    def store(self) -> Store:
        return Store(self.config.dataset)


@pytest.fixture(scope="session")
def with_everything(make_video: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two versions, labels, exports, wide frames, fingerprints, a gc's report; nobody writes to it."""
    root = tmp_path_factory.mktemp("everything")
    config = publish_hostile(
        root, make_video, frame={"wide": True}, scorers=["motion", "fingerprint", "text_area"]
    )
    store = Store(config.dataset)
    clips = read_clips(store)
    assert clips is not None
    named = {
        file_video_id(hashlib.sha256(path.read_bytes()).hexdigest()): path.name
        for path in (root / "videos").glob("*.mp4")
    }
    ids = sorted(set(clips["video_id"].to_pylist()), key=lambda video_id: named[video_id])
    # Another version, of one clip less, and a pack that nobody names.
    pack = next(name for name in store.list("packs") if ids[0] in name and name.endswith(".tar"))
    store.put(pack.replace(pack[-12:-4], "0badcafe"), store.read(pack))
    assert collect_garbage(store, young_s=0).report
    later = config.model_copy(update={"curate": config.curate.model_copy(update={"seed": 1})})
    build(later, OneChild(), Quiet())
    for kind in export_kinds():
        for number in (1, 2):
            export_version(store, read_version(store, number), kind)
    _label(store)
    _learn(store, ids)
    store.put(f"{pack.removesuffix('.tar')}.info.json", json.dumps({"id": ids[0]}).encode())
    store.put("budgets/site.example/slots/1795618869000.json", b"{}\n")
    store.put("budgets/site.example/closed.json", b"{}\n")
    store.put(f"quarantine/{ids[0]}-0123456789ab.json", json.dumps({"video_id": ids[0]}).encode())
    store.put("reports/verify/000001-0123456789abcdef/packs_" + pack[6:] + ".json", b"{}\n")
    store.put(f".tmp/{NOBODY}-0-0badcafe", b"half of something")
    return Dataset(later, tuple(ids[:3]))


def _label(store: Store) -> None:
    clips = read_clips(store)
    assert clips is not None
    with Database(store) as database:
        for plan in ("random", "audit", "stratum:video_id"):
            queue = open_queue(database, store, clips, plan, 20, 0, 1.0)
            for number, key in enumerate(queue.deal("ada", 20)):
                note = f"like {key}" if plan == "audit" else ""
                answer = Answer(f"{plan}-{number}", key, "ada", 1 + number % 5, note)
                Answers(database).give(queue.plan, answer)
        export(store, Answers(database))


def _learn(store: Store, ids: list[str]) -> None:
    """The card of a classifier that learned from all of these videos; nobody asks for its weights."""
    weights = b"some weights"
    card = empty_card(weights, train=hash_videos(ids[:-1]), validation=hash_videos(ids[-1:]))
    save_classifier(Store(f"{store.root}/classifiers"), card, weights)


@pytest.fixture
def dataset(with_everything: Dataset, tmp_path: Path) -> Dataset:
    """A copy of it."""
    shutil.copytree(with_everything.config.dataset, tmp_path / "set")
    config = with_everything.config.model_copy(update={"dataset": str(tmp_path / "set")})
    return Dataset(config, with_everything.ids)
