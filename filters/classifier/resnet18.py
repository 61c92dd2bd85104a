"""ResNet18 on small pictures: the classifier of the paper, 11M parameters.

He et al. 2016, as torchvision builds it, with one output. Trained as a whole with AdamW: the loss of a
clip is that of the mean logit of some of its frames, drawn anew each time. What is validated and kept is
the moving average of the weights (Polyak & Juditsky 1992): single steps swing on games that were not learned
from, their average does not.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from filters.classifier.backbones import Backbone, Epoch, Lesson, Seen, batches, read_state
from filters.classifier.calibrate import fit_temperature, nll
from filters.classifier.look import Look, Pictures
from filters.classifier.settings import TrainSettings
from shards.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

_TRAIN_FRAMES = 2
_AVERAGE_DECAY = 0.95
_PICTURES_AT_ONCE = 64
_STATISTICS_PICTURES = 256

# What may differ between two pictures of the same play: the side it goes to, a few pixels, the light, and
# how often it was encoded. And the colours: each game has its own, and there are few games to learn from.
_SHIFT = 0.05
_LIGHT = 0.15
_HUE, _SATURATION, _GRAY_SHARE = 0.5, 0.5, 0.2
_JPEG_QUALITY = (60, 95)
_JPEG_SHARE = 0.3


class ResNet18(Backbone):
    """See the module. What is kept of a clip are its pictures, 346 kB for 8 of 160x90."""

    name = "resnet18"

    def __init__(self, settings: TrainSettings) -> None:
        width_px, height_px = settings.size_px
        self.look = Look(frames=settings.frames, width_px=width_px, height_px=height_px)
        self.shape: dict[str, Any] = {}
        self._settings = settings
        self._init = read_state(str(settings.init), "--init") if settings.init else None

    def see(self, pictures: Pictures) -> Seen:
        """The pictures themselves, `[N, 3, H, W]` uint8."""
        return pictures

    def fit(self, seen: Seen, lesson: Lesson, on_epoch: Epoch) -> nn.Module:
        """See `Backbone.fit`; the weights of the epoch with the least loss on validation are kept."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits as loss_of
        from torch.optim.swa_utils import AveragedModel

        good, train, validation = lesson.good, lesson.train, lesson.validation
        with torch.random.fork_rng():
            torch.manual_seed(self._settings.seed)
            model = self._begin().to(self._settings.device)
            averaged = AveragedModel(model, avg_fn=_average)
            optimizer = torch.optim.AdamW(
                model.parameters(), lr=self._settings.learning_rate, weight_decay=self._settings.weight_decay
            )
            targets = torch.from_numpy(good.astype(np.float32))
            balance = torch.from_numpy(_balance(good, train))
            best, best_loss, since = copy.deepcopy(averaged.module.state_dict()), math.inf, 0
            for epoch in range(1, self._settings.epochs + 1):
                model.train()
                order = torch.from_numpy(train)[torch.randperm(len(train))]
                for chosen in torch.split(order, self._settings.batch_clips):
                    if len(chosen) == 1 and len(order) > 1:
                        continue  # batch norm learns nothing from a single clip
                    logits = self._train_logits(model, seen, chosen)
                    loss = loss_of(
                        logits, targets[chosen].to(logits.device), balance[chosen].to(logits.device)
                    )
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    averaged.update_parameters(model)
                self._learn_statistics(averaged.module, seen, train)
                told = self.logits(averaged.module, seen[validation]).mean(axis=1)
                # It is calibrated in the end; long before it tells the classes apart best, it is too sure.
                found = nll(told, good[validation], fit_temperature(told, good[validation]))
                on_epoch(epoch, found)
                if found < best_loss:
                    best, best_loss, since = copy.deepcopy(averaged.module.state_dict()), found, 0
                else:
                    since += 1
                    if since >= self._settings.patience:
                        break
        model.load_state_dict(best)
        with torch.no_grad():
            model.fc.bias += math.log(good[train].sum() / (~good[train]).sum())  # type: ignore[union-attr,operator]
        return model.eval()

    def logits(self, fitted: nn.Module, seen: Seen) -> npt.NDArray[np.float64]:
        """See `Backbone.logits`."""
        import torch

        fitted.eval()
        pictures = torch.from_numpy(seen).flatten(0, 1)
        found = batches(
            lambda part: fitted(self.look.normalise(part)), pictures, _PICTURES_AT_ONCE, self._settings.device
        )
        return found.view(seen.shape[:2]).double().numpy()

    def whole(self, fitted: nn.Module) -> nn.Module:
        """The model as it was trained."""
        return fitted

    def _begin(self) -> nn.Module:
        model = build({})
        if self._init is not None:
            # A head for other classes than ours stays out.
            state = {name: value for name, value in self._init.items() if not name.startswith("fc.")}
            own = {name: value.shape for name, value in model.state_dict().items() if name[:3] != "fc."}
            if {name: value.shape for name, value in state.items()} != own:
                raise UserError(
                    f"--init {self._settings.init}: is not a state dict of torchvision's resnet18; give one"
                )
            model.load_state_dict(state, strict=False)
        return model

    def _learn_statistics(self, model: nn.Module, seen: Seen, train: npt.NDArray[np.intp]) -> None:
        """Give batch norm the statistics of the weights as they are now (Wu & Johnson 2021, section 3).

        Its running means lag behind, by more than all there is to learn where the labels are few.
        """
        import torch
        from torch.optim.swa_utils import update_bn

        some = train[:: -(-len(train) * seen.shape[1] // _STATISTICS_PICTURES)]
        parts = torch.split(torch.from_numpy(seen[some]).flatten(0, 1), _PICTURES_AT_ONCE)
        update_bn((self.look.normalise(part.to(self._settings.device)) for part in parts), model)

    def _train_logits(self, model: nn.Module, seen: Seen, chosen: Tensor) -> Tensor:
        """The mean logits of some frames of the chosen clips, each clip changed in its own way."""
        import torch

        change = _augmentation(self.look)
        clips = []
        for place in chosen.tolist():
            frames = torch.randperm(seen.shape[1])[:_TRAIN_FRAMES]
            clips.append(change(torch.from_numpy(seen[place])[frames]))
        pictures = torch.stack(clips).to(self._settings.device)
        logits: Tensor = model(self.look.normalise(pictures.flatten(0, 1)))
        return logits.view(pictures.shape[:2]).mean(dim=1)


def build(_: Mapping[str, Any]) -> nn.Module:
    """ResNet18 with one output and random weights."""
    import torchvision

    model: nn.Module = torchvision.models.resnet18(num_classes=1)
    return model


def _average(average: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
    """The moving average of a weight after a step; of the first few steps it forgets sooner."""
    weight = 1 - min(_AVERAGE_DECAY, (1 + int(steps)) / (4 + int(steps)))
    return average + (now - average) * weight


def _balance(good: npt.NDArray[np.bool_], places: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Weights of clips by which both classes at these places weigh the same, and the mean is 1."""
    share = good[places].mean()
    weights: npt.NDArray[np.float32] = np.where(good, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)
    return weights


def _augmentation(look: Look) -> Any:
    """Changes that leave the meaning: no picture upside down, and nothing about time."""
    from torchvision.transforms import v2

    across, down = (max(1, round(_SHIFT * size)) for size in (look.width_px, look.height_px))
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomCrop((look.height_px, look.width_px), padding=[across, down], padding_mode="edge"),
            v2.ColorJitter(brightness=_LIGHT, contrast=_LIGHT, saturation=_SATURATION, hue=_HUE),
            v2.RandomGrayscale(_GRAY_SHARE),
            v2.RandomApply([v2.Lambda(_encoded_again)], p=_JPEG_SHARE),
        ]
    )


def _encoded_again(pictures: Tensor) -> Tensor:
    """The pictures, `[F, 3, H, W]` uint8, with the noise of a JPEG's blocks in them."""
    import torch
    from PIL import Image

    quality = int(torch.randint(*_JPEG_QUALITY, ()))
    noisy = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(file, "JPEG", quality=quality)
        noisy.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(noisy)).permute(0, 3, 1, 2)
