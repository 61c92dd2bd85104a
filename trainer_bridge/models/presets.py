"""The models by name, with the widths and depths that the paper publishes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trainer_bridge.models.st_transformer import STShape
from trainer_bridge.models.tokenizer import TokenizerShape, VideoTokenizer


@dataclass(frozen=True)
class Preset:
    """A model by name.

    Attributes:
        shape: of the model; its type says which model.
        paper: parameters that the paper reports, None for a model of ours.
    """

    shape: TokenizerShape
    paper: int | None


PRESETS = {
    # Small enough for two CPU cores: 144 patches of 10x10 a frame at 160x90.
    "tiny-tokenizer": Preset(
        TokenizerShape(
            encoder=STShape(layers=4, width=64, heads=2, head_dim=32),
            decoder=STShape(layers=4, width=64, heads=2, head_dim=32),
            patch_px=10,
            num_codes=256,
            code_dim=16,
        ),
        paper=None,
    ),
    # Layers, widths, heads and codes as the paper publishes them.
    "tokenizer-200m": Preset(
        TokenizerShape(
            encoder=STShape(layers=12, width=512, heads=8),
            decoder=STShape(layers=20, width=1024, heads=16),
            patch_px=4,
            num_codes=1024,
            code_dim=32,
        ),
        paper=200_000_000,
    ),
}


def build_model(name: str, *, frames: int, height: int, width: int, seed: int) -> VideoTokenizer:
    """A fresh model; its weights depend on the arguments alone.

    Args:
        name: a key of `PRESETS`.
        frames: the longest window, T.
        height: H of the video, in pixels.
        width: W of the video, in pixels.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VideoTokenizer(PRESETS[name].shape, frames=frames, height=height, width=width, seed=seed)


def describe(name: str) -> dict[str, int | None]:
    """`parameters` of a model of 16 frames of 160x90, and those the `paper` reports."""
    with torch.device("meta"):
        model = VideoTokenizer(PRESETS[name].shape, frames=16, height=90, width=160, seed=0)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "paper": PRESETS[name].paper,
    }
