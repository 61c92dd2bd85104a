"""A probe on the image features of an open_clip model: what VPT did, with few labels and no GPU.

The model stays as it is; a logistic regression on its features tells good from bad. Since the head is
linear, the mean of the frames' logits is the logit of their mean feature, and that is what it is
fitted to. The model's image tower goes into the classifier's file, so that whoever applies it needs
neither the network nor the file that it came from.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from filters.classifier.backbones import Backbone, Epoch, Lesson, Seen, batches
from filters.classifier.look import Look, Pictures
from filters.classifier.settings import TrainSettings
from shards.errors import UserError

if TYPE_CHECKING:
    from torch import nn

_STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
_MAX_ITERATIONS = 2000
_ROWS_AT_ONCE = 4096


class OpenClipProbe(Backbone):
    """See the module. What is kept of a clip are its features, `[N, D]` float32."""

    name = "open_clip"

    def __init__(self, settings: TrainSettings) -> None:
        self._settings = settings
        self._visual, config, seen = _load(settings.model, settings.weights)
        self._visual = self._visual.eval().to(settings.device)
        width_px, height_px = _size(seen["size"])
        self.look = Look(
            frames=settings.frames,
            width_px=width_px,
            height_px=height_px,
            mean=tuple(seen["mean"]),
            std=tuple(seen["std"]),
        )
        self.shape: dict[str, Any] = {
            "model": Path(settings.model).stem if settings.model.endswith(".json") else settings.model,
            "embed_dim": config["embed_dim"],
            "vision_cfg": config["vision_cfg"],
            "quick_gelu": bool(config.get("quick_gelu", False)),
        }

    def see(self, pictures: Pictures) -> Seen:
        """The features of one clip's pictures, `[N, D]` float32."""
        import torch

        return batches(
            lambda part: pooled(self._visual(self.look.normalise(part))),
            torch.from_numpy(pictures),
            len(pictures),
            self._settings.device,
        ).numpy()

    def fit(self, seen: Seen, lesson: Lesson, on_epoch: Epoch) -> nn.Module:
        """See `Backbone.fit`; of some strengths of the penalty the one with the least loss is kept."""
        import torch
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss
        from sklearn.utils.class_weight import compute_sample_weight

        good, train, validation = lesson.good, lesson.train, lesson.validation
        mean, spread = seen[train].mean(axis=(0, 1)), seen[train].std(axis=(0, 1)) + 1e-6
        features = (seen.mean(axis=1) - mean) / spread
        weights = compute_sample_weight("balanced", good[validation])
        best, best_loss = None, math.inf
        for number, strength in enumerate(_STRENGTHS, 1):
            model = LogisticRegression(C=strength, class_weight="balanced", max_iter=_MAX_ITERATIONS)
            model.fit(features[train], good[train])
            told = model.predict_proba(features[validation])[:, 1]
            loss = float(log_loss(good[validation], told, sample_weight=weights, labels=[False, True]))
            on_epoch(number, loss)
            if loss < best_loss:
                best, best_loss = model, loss
        assert best is not None
        # The head takes features as they come, so the scaling becomes part of it.
        slope = best.coef_[0] / spread
        odds = math.log(good[train].sum() / (~good[train]).sum())
        head = torch.nn.Linear(seen.shape[2], 1)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(slope)[None])
            head.bias.fill_(float(best.intercept_[0] - slope @ mean) + odds)
        return head

    def logits(self, fitted: nn.Module, seen: Seen) -> npt.NDArray[np.float64]:
        """See `Backbone.logits`."""
        import torch

        rows = torch.from_numpy(np.ascontiguousarray(seen, np.float32)).flatten(0, 1)
        return batches(fitted, rows, _ROWS_AT_ONCE, "cpu").view(seen.shape[:2]).double().numpy()

    def whole(self, fitted: nn.Module) -> nn.Module:
        """The image tower with the head behind it."""
        return _tower_with_head(self._visual.cpu(), fitted)


def build(shape: Mapping[str, Any]) -> nn.Module:
    """The image tower of a card and a head, with random weights."""
    import torch
    from open_clip.model import _build_vision_tower

    vision = dict(shape["vision_cfg"]) | {"timm_model_pretrained": False}
    visual = _build_vision_tower(shape["embed_dim"], vision, shape["quick_gelu"])
    return _tower_with_head(visual, torch.nn.Linear(shape["embed_dim"], 1))


def pooled(told: Any) -> Any:
    """The picture's feature; towers of the CoCa kind tell those of its parts beside it."""
    return told[0] if isinstance(told, tuple) else told


def _tower_with_head(visual: nn.Module, head: nn.Module) -> nn.Module:
    import torch

    class Probe(torch.nn.Sequential):
        """Named like its parts, so that files of either kind of tower are read alike."""

        def forward(self, pictures: Any) -> Any:
            return head(pooled(visual(pictures)))

    return Probe(OrderedDict(visual=visual, head=head))


def _load(model: str, weights: str | None) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """The image tower of a model of open_clip, its config, and how it wants its pictures."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    name = model
    if model.endswith(".json"):
        name = _register(Path(model))
    if name not in open_clip.list_models():
        raise UserError(
            f"--model {model}: open_clip knows no such model; give one of open_clip.list_models(), "
            "as ViT-B-32, or a JSON file in its format"
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if weights is None or (weights not in tags and not Path(weights).is_file()):
        raise UserError(
            f"--weights {weights or '(none)'}: open_clip's {name} needs weights; give a local file"
            + (f" or one of {', '.join(tags)}" if tags else "")
        )
    quick_gelu = bool(weights in tags and get_pretrained_cfg(name, weights).get("quick_gelu", False))
    try:
        whole = open_clip.create_model(name, pretrained=weights, force_quick_gelu=quick_gelu)
    except Exception as error:  # it raises whatever its readers and the network do
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"--weights {weights}: cannot be loaded into open_clip's {name} ({reason}); give weights of it"
        ) from None
    config = dict(open_clip.get_model_config(name))
    config["quick_gelu"] = quick_gelu or config.get("quick_gelu", False)
    return whole.visual, config, whole.visual.preprocess_cfg


def _register(path: Path) -> str:
    import open_clip

    try:
        keys = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"--model {path}: cannot be read ({error}); give a model config of open_clip"
        ) from None
    if not isinstance(keys, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= keys.keys():
        raise UserError(f"--model {path}: is no model config of open_clip; see its model_configs/")
    open_clip.add_model_config(path)
    return path.stem


def _size(size: int | tuple[int, int]) -> tuple[int, int]:
    """(width, height) of open_clip's size: a number, or (height, width)."""
    if isinstance(size, int):
        return size, size
    return size[1], size[0]
