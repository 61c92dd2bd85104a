"""The commands that train a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from commands import screen
from commands.arguments import Config, Json, Overrides


def train_tokenizer(
    config: Config,
    overrides: Overrides = None,
    allow_change: Annotated[
        bool,
        typer.Option("--allow-change", help="Go on though the data, or the order of its windows, changed."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a video tokenizer; run again, it goes on from its last checkpoint."""
    from shards.settings import load_settings
    from trainer_bridge.config import TrainConfig
    from trainer_bridge.train import train

    settings = load_settings(TrainConfig, config, overrides or [])
    with screen.progress() as progress:
        result = train(
            settings,
            lambda step: progress.step("train", step["step"] + 1, settings.steps, f"loss {step['loss']:.4f}"),
            allow_change=allow_change,
        )
    if as_json:
        screen.print_json(asdict(result) | {"run": str(result.run)})
    else:
        screen.say(
            f"{result.run}: {result.steps} steps, "
            f"loss {result.first_loss:.4f} at the start, {result.last_loss:.4f} at the end"
        )
