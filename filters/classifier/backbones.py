"""The interface of a backbone, and how one is found by its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from filters.classifier.look import Look, Pictures
from filters.classifier.settings import TrainSettings
from shards.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Seen = npt.NDArray[Any]
"""What a backbone keeps of clips in memory for its training, `[clips, N, ...]`."""

Epoch = Callable[[int, float], None]
"""Is told the number of an epoch and its loss on validation."""


@dataclass(frozen=True)
class Lesson:
    """What a backbone learns from, as places among the labelled clips.

    Attributes:
        good: `[clips]`, what each of them is; read only at the places below.
        train: places to learn from.
        validation: places that say when it is enough.
    """

    good: npt.NDArray[np.bool_]
    train: npt.NDArray[np.intp]
    validation: npt.NDArray[np.intp]


class Backbone(ABC):
    """Learns to tell good clips from bad ones, a logit a frame; a clip's logit is the mean of them.

    Attributes:
        look: what it sees of a clip.
        shape: what `build` needs to make the same model again; JSON.
    """

    name: ClassVar[str]
    look: Look
    shape: dict[str, Any]

    @abstractmethod
    def see(self, pictures: Pictures) -> Seen:
        """What is kept of one clip's pictures, `[N, ...]`."""

    @abstractmethod
    def fit(self, seen: Seen, lesson: Lesson, on_epoch: Epoch) -> nn.Module:
        """Learn a lesson; `seen` are all labelled clips.

        The classes weigh the same in the loss; afterwards the logit is shifted by the logarithm of
        their odds in `lesson.train`, which makes it one of the labels as they are (King & Zeng 2001).
        """

    @abstractmethod
    def logits(self, fitted: nn.Module, seen: Seen) -> npt.NDArray[np.float64]:
        """The logits of frames, `[clips, N]`; positive is good."""

    @abstractmethod
    def whole(self, fitted: nn.Module) -> nn.Module:
        """The model that turns normalised pictures `[B, 3, H, W]` into logits `[B, 1]`."""


def make_backbone(settings: TrainSettings) -> Backbone:
    """The backbone that the settings name.

    Raises:
        UserError: its weights cannot be had, or the device is not there.
    """
    check_device(settings.device)
    if settings.backbone == "resnet18":
        from filters.classifier.resnet18 import ResNet18

        return ResNet18(settings)
    from filters.classifier.open_clip_probe import OpenClipProbe

    return OpenClipProbe(settings)


def build_model(name: str, shape: Mapping[str, Any]) -> nn.Module:
    """The model of a card, with no weights worth anything.

    Raises:
        UserError: there is no such backbone.
    """
    if name == "resnet18":
        from filters.classifier.resnet18 import build

        return build(shape)
    if name == "open_clip":
        from filters.classifier.open_clip_probe import build as build_probe

        return build_probe(shape)
    raise UserError(f"there is no backbone {name!r}; there are resnet18, open_clip")


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads of the CPU, here and as long as this lasts."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_device(device: str) -> None:
    """Whether there is such a device here.

    Raises:
        UserError: there is none.
    """
    import torch

    try:
        found = torch.device(device)
    except RuntimeError:
        raise UserError(f"--device {device}: is no device; give cpu, cuda or cuda:1") from None
    if found.type not in ("cpu", "cuda") or (
        found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count()
    ):
        raise UserError(
            f"--device {device}: is not on this machine, which has {torch.cuda.device_count()} CUDA devices; "
            "give cpu"
        )


def read_state(path: str, option: str) -> dict[str, Tensor]:
    """A state dict from a local file; nothing in it is run as code.

    Raises:
        UserError: there is none.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.endswith(".safetensors"):
            return load_file(path)
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return dict(state.get("state_dict", state))
    except (OSError, SafetensorError, RuntimeError, ValueError, AttributeError, _unpickling()) as error:
        # Torch's own words on a file that would run code are how to run it.
        reason = error.strerror if isinstance(error, OSError) else "it holds other things than named tensors"
        raise UserError(
            f"{option} {path}: cannot be read ({reason}); give a state dict, .safetensors or torch's"
        ) from None


def _unpickling() -> type[Exception]:
    import pickle

    return pickle.UnpicklingError


def batches(model: Callable[[Tensor], Tensor], rows: Tensor, size: int, device: torch.device | str) -> Tensor:
    """`model` of rows, so many at a time, without gradients; the result lies in the CPU's memory."""
    import torch

    with torch.inference_mode():
        return torch.cat([model(part.to(device)).float().cpu() for part in torch.split(rows, size)])
