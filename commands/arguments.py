"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path, typer.Argument(help="YAML file; configs/ has some to start from.")]
Dataset = Annotated[str, typer.Argument(help="The dataset's folder or URL.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the config, e.g. curate.seed=1."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Decided = Annotated[
    int | None, typer.Option("--version", min=1, help="As of this version; by default as decided last.")
]

Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="How many videos are cut at once here.")]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Work on this Ray cluster; `auto` on a node of it."),
]
Retry = Annotated[
    list[str] | None,
    typer.Option(metavar="CLASS", help="Try videos again that failed so: crashed, unavailable, ..."),
]
