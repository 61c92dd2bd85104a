"""The card of a classifier that has nothing to tell."""

from __future__ import annotations

import hashlib
from typing import Any

from filters.classifier.artifact import CLASSIFIER_VERSION, Card
from filters.classifier.look import Look


def empty_card(weights: bytes, **told: Any) -> Card:
    """Of a ResNet18 with these weights; `told` are fields that a test needs otherwise."""
    fields: dict[str, Any] = {
        "version": CLASSIFIER_VERSION,
        "weights": hashlib.sha256(weights).hexdigest(),
        "backbone": "resnet18",
        "shape": {},
        "look": Look(frames=2, width_px=40, height_px=24),
        "temperature": 1.0,
        "rule": None,
        "metrics": {},
        "reliability": [],
        "labels": "",
        "counts": {},
        "train": [],
        "validation": [],
        "folds": 3,
        "start": "random",
        "device": "cpu",
        "settings": {},
        "libraries": {},
    }
    return Card(**fields | told)
