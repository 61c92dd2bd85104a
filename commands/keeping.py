"""The commands that keep a dataset's versions in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from commands import screen
from commands.arguments import Dataset, Json

if TYPE_CHECKING:
    from shards.garbage import Garbage
    from shards.store import Store
    from shards.versions import VersionSummary

_HASH_CHARS = 8
_SHOWN = 20
_HOUR_S = 3600.0


def _existing(dataset: str) -> Store:
    """A dataset where something was published or a build began; a slip in its name is no empty dataset."""
    from pipeline.build import read_config
    from shards.manifest import list_versions
    from shards.store import Store

    store = Store(dataset)
    if not list_versions(store):
        read_config(store)
    return store


def versions(dataset: Dataset, as_json: Json = False) -> None:
    """The published versions: what each holds, what it shares with those before, what was set otherwise."""
    from shards.versions import summarize_versions

    found = summarize_versions(_existing(dataset))
    if as_json:
        screen.print_json([asdict(one) for one in found])
        return
    if found:
        heads = (
            *("hash", "parent", "recipe", "changed in it", "shards", "of them new", "bytes", "of them new"),
            "clips",
        )
        screen.print_columns("versions", heads, {str(one.number): _columns(one) for one in found})
    for one in found:
        if one.fault:
            screen.say(screen.printable(one.fault))
    stored = sum(one.new_bytes for one in found)
    screen.say(f"{len(found)} versions of {dataset}: {stored:,} bytes of shards, each counted once")


def gc(
    dataset: Dataset,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Withdraw all versions but so many of the newest; none by default."),
    ] = None,
    older_than: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="Spare younger objects that nothing names yet.")
    ] = 24.0,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only said.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what no version and no commit names; only says what that is unless told --yes."""
    from shards.garbage import collect_garbage, find_garbage

    store, report = _existing(dataset), None
    young_s = older_than * _HOUR_S
    if yes:
        collected = collect_garbage(store, keep=keep, young_s=young_s)
        found, report = collected.objects, collected.report
    else:
        found = find_garbage(store, keep=keep, young_s=young_s)
    size = sum(garbage.bytes for garbage in found)
    if as_json:
        objects = [asdict(garbage) for garbage in found]
        screen.print_json({"removed": yes, "bytes": size, "report": report, "objects": objects})
        return
    _print_garbage(found)
    if not found:
        screen.say(f"there is no garbage in {dataset}")
    elif yes:
        screen.say(f"{len(found):,} objects, {size:,} bytes are removed; {report} lists them")
    else:
        screen.say(f"{len(found):,} objects, {size:,} bytes would be removed; --yes removes them")


def _columns(one: VersionSummary) -> tuple[str, ...]:
    if one.hash is None or one.recipe_hash is None:
        return ("damaged",)
    return (
        one.hash[:_HASH_CHARS],
        "-" if one.parent is None else str(one.parent),
        one.recipe_hash[:_HASH_CHARS],
        ", ".join(one.changed or ()) or "-",
        f"{one.shards:,}",
        f"{one.new_shards:,}",
        f"{one.bytes:,}",
        f"{one.new_bytes:,}",
        ", ".join(f"{split} {count:,}" for split, count in one.clips.items()),
    )


def _print_garbage(found: tuple[Garbage, ...]) -> None:
    for garbage in found[:_SHOWN]:
        print(screen.printable(f"{garbage.why}  {garbage.name}  {garbage.bytes:,}"))
    if len(found) > _SHOWN:
        print(f"and {len(found) - _SHOWN:,} more; --json has them all")
    if found:
        screen.print_counts("objects", Counter(garbage.why for garbage in found))
