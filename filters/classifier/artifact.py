"""A trained classifier as it is kept: `<id>/model.safetensors` and `<id>/card.json`.

The id is a hash of the card, which holds the hash of the weights; the folder is named by it, so what
was changed or damaged is found when it is read. Nothing in either file is code, and no time is in
them: the same labels, settings, libraries and machine make the same id.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from filters.classifier.backbones import build_model
from filters.classifier.decide import Rule
from filters.classifier.look import Look
from filters.classifier.measures import Bin, Measured
from shards.errors import UserError
from shards.settings import Block
from shards.store import Store

if TYPE_CHECKING:
    from torch import nn

CLASSIFIER_VERSION = 2
"""Raised whenever a classifier would score the same clip otherwise, or its card says other things."""

_WEIGHTS, _CARD = "model.safetensors", "card.json"
_ID_CHARS = 12
_ID_BEGIN = "c"  # so that none is a number to YAML
_ID = re.compile(rf"[0-9a-f]{{{_ID_CHARS}}}")


class Card(Block):
    """What is known of a classifier.

    Attributes:
        version: `CLASSIFIER_VERSION`.
        weights: SHA-256 of `model.safetensors`.
        backbone: its name.
        shape: what `filters.classifier.backbones.build_model` needs besides.
        look: what it sees of a clip.
        temperature: by which its logits are divided.
        rule: which clips it keeps; None if none reached what was asked for.
        metrics: on labelled clips it had not learned from, cross-validated by video: `auc`; `precision`,
            `recall` and `kept_share` of rules that were chosen as `rule` was, without the videos they
            decided on; `nll` and `nll_uncalibrated`.
        reliability: likewise.
        labels: SHA-256 of the labels.
        counts: label -> number of clips.
        train: the videos it learned from, as `filters.classifier.folds.hash_videos` gives them.
        validation: those it was stopped and calibrated by.
        folds: how many there were.
        start: the weights it began with: `random`, the tag of open_clip's, or `sha256:` of the file.
        device: the type it was trained on, `cpu` or `cuda`, which sum in other orders.
        settings: of the training, without places.
        libraries: package -> version.
    """

    version: int
    weights: str
    backbone: str
    shape: dict[str, Any]
    look: Look
    temperature: float
    rule: Rule | None
    metrics: dict[str, Measured]
    reliability: list[Bin]
    labels: str
    counts: dict[str, int]
    train: list[str]
    validation: list[str]
    folds: int
    start: str
    device: str
    settings: dict[str, Any]
    libraries: dict[str, str]

    @cached_property
    def id(self) -> str:
        """Names the classifier."""
        body = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return _ID_BEGIN + hashlib.sha256(body.encode()).hexdigest()[: _ID_CHARS - len(_ID_BEGIN)]


@dataclass(frozen=True)
class Classifier:
    """A classifier that is ready to look at clips: its card, and its model in evaluation mode."""

    card: Card
    model: nn.Module


def is_classifier_id(text: str) -> bool:
    """Whether this has the form of a classifier's id."""
    return bool(_ID.fullmatch(text))


def weights_bytes(model: nn.Module) -> bytes:
    """The file of a model's weights; equal weights are equal bytes."""
    from safetensors.torch import save

    return save({name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()})


def save_classifier(store: Store, card: Card, weights: bytes) -> str:
    """Write a classifier into a folder of its own in `store`; returns its id."""
    store.put(f"{card.id}/{_WEIGHTS}", weights)
    store.put(f"{card.id}/{_CARD}", json.dumps(card.model_dump(mode="json"), indent=1).encode() + b"\n")
    return card.id


def read_card(location: str) -> Card:
    """The card of the classifier in this folder, whose name is the classifier's id.

    Raises:
        UserError: there is none, it is damaged, or another version of Genieset made it.
    """
    store = Store(location)
    if not store.exists(_CARD):
        raise UserError(
            f"classifier {location}: there is none; `genieset classifier train` makes one, "
            "and says where it is"
        )
    try:
        content = json.loads(store.read(_CARD))
        version = content.get("version") if isinstance(content, dict) else None
        if isinstance(version, int) and version != CLASSIFIER_VERSION:
            raise UserError(
                f"classifier {location}: is of version {version}, this Genieset reads {CLASSIFIER_VERSION}; "
                "train it again"
            )
        card = Card.model_validate(content)
    except (ValueError, ValidationError):
        raise UserError(
            f"classifier {location}: {_CARD} is damaged or no classifier's; bring it back"
        ) from None
    if card.id != store.name:
        raise UserError(
            f"classifier {location}: {_CARD} is not the one it was saved with, which is {store.name}, "
            f"but {card.id}; bring it back"
        )
    return card


def load_classifier(location: str, device: str = "cpu") -> Classifier:
    """The classifier in this folder.

    Raises:
        UserError: there is none, or a file of it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    card = read_card(location)
    store = Store(location)
    data = store.read(_WEIGHTS) if store.exists(_WEIGHTS) else b""
    if hashlib.sha256(data).hexdigest() != card.weights:
        raise UserError(f"classifier {location}: {_WEIGHTS} is damaged or missing; bring it back")
    try:
        model = build_model(card.backbone, card.shape)
        model.load_state_dict(load(data))
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"classifier {location}: {_WEIGHTS} does not fit its card ({str(error).splitlines()[0]}); "
            "bring both back"
        ) from None
    return Classifier(card, model.to(device).eval())
