"""The commands that look at a dataset."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands import screen
from commands.arguments import Dataset, Decided, Json, RayAddress
from shards.errors import UserError

if TYPE_CHECKING:
    from pipeline.engine import Engine
    from pipeline.status import Status
    from shards.checks.faults import Fault
    from shards.store import Store

_FAULTS_SHOWN = 40


def status(
    dataset: Dataset,
    watch: Annotated[bool, typer.Option("--watch", help="Look again until nothing is pending.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between looks.")] = 5.0,
    failed: Annotated[
        bool, typer.Option("--failed", help="Name each video that failed or was rejected, and say why.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The books: how every video and every clip ended."""
    from pipeline.outcomes import PENDING
    from pipeline.status import read_status
    from shards.store import Store

    store = Store(dataset)
    if failed:
        _print_failed(store, as_json=as_json)
        return
    found = read_status(store)
    while True:
        if as_json:
            screen.print_json(asdict(found))
        else:
            if watch and sys.stdout.isatty():
                typer.echo("\x1b[H\x1b[2J", nl=False)  # from the top of an empty screen
            screen.print_counts("videos", found.videos)
            screen.print_counts("clips", found.clips)
            screen.say(_status_line(found))
        if not watch or not found.videos.get(PENDING):
            break
        before = found
        while found == before:
            time.sleep(every_s)
            found = read_status(store)
    if not found.balanced:
        raise typer.Exit(1)


def verify(
    dataset: Dataset,
    sample: Annotated[int | None, typer.Option(min=1, help="Decode only so many clips.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="The version; the newest by default.")] = None,
    staged: Annotated[
        bool,
        typer.Option(help="Check packs, commits, wide frames and scores too."),
    ] = True,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Check again what an interrupted verify had found whole.")
    ] = False,
    forgotten: Annotated[
        bool,
        typer.Option("--forgotten", help="Prove instead that nothing is left of forgotten videos."),
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="How many shards or objects at once.")] = 1,
    ray_address: RayAddress = None,
    as_json: Json = False,
) -> None:
    """Hash, count and decode everything a version says it holds; tell the object and byte at fault."""
    from pipeline.engine.choose import open_engine
    from pipeline.verify import verify_dataset
    from shards.store import Store

    if forgotten:
        given = {"--sample": sample, "--version": version, "--no-staged": not staged, "--fresh": fresh}
        if useless := ", ".join(name for name, value in given.items() if value):
            raise UserError(f"verify --forgotten: looks at every object whole; leave {useless} away")
        with open_engine(jobs, ray_address) as engine:
            _verify_forgotten(Store(dataset), engine, as_json=as_json)
        return
    with open_engine(jobs, ray_address) as engine, screen.progress() as progress:
        report = verify_dataset(
            Store(dataset), engine, progress, number=version, sample=sample, staged=staged, fresh=fresh
        )
    found = report.verified
    if as_json:
        screen.print_json(asdict(found) | {"packs": report.packs, "noted": report.noted})
    else:
        _print_faults(found.faults)
        noted = f" ({report.noted} of them checked before the interruption)" if report.noted else ""
        screen.say(
            f"version {found.version}: {found.shards} shards, {found.samples} clips, "
            f"{found.decoded} decoded, {report.packs} packs{noted}, "
            + (f"{len(found.faults)} faults" if found.faults else "no fault")
        )
    if found.faults:
        raise typer.Exit(1)


def _verify_forgotten(store: Store, engine: Engine, *, as_json: bool) -> None:
    from pipeline.verify_forgotten import verify_forgotten

    with screen.progress() as progress:
        found = verify_forgotten(store, engine, progress)
    if as_json:
        screen.print_json({"objects": found.objects, "faults": [asdict(fault) for fault in found.faults]})
    else:
        _print_faults(found.faults)
        screen.say(
            f"{found.videos} forgotten videos, {found.objects:,} objects: "
            + (
                f"{len(found.faults)} places hold something of them"
                if found.faults
                else "nothing is left of them"
            )
        )
    if found.faults:
        raise typer.Exit(1)


def show(
    dataset: Dataset,
    key: Annotated[str, typer.Argument(help="The clip's key, <video_id>_<first frame>.")],
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of the clip to this PNG.")] = None,
    version: Decided = None,
    as_json: Json = False,
) -> None:
    """One clip: where it is from, its scores, and why it was kept or dropped."""
    from pipeline.show import show as show_clip
    from shards.store import Store

    shown = show_clip(Store(dataset), key, version)
    found = shown.found
    if sheet:
        try:
            sheet.write_bytes(shown.sheet)
        except OSError as error:
            raise UserError(f"--sheet {sheet}: cannot be written ({error.strerror})") from None
    if as_json:
        screen.print_json(
            {"video": found.video, "clip": found.clip, "scores": found.scores, "why": shown.why}
        )
        return
    screen.print_rows(
        "video", {name: value for name, value in found.video.items() if value not in (None, [])}
    )
    clip = {name: value for name, value in found.clip.items() if value is not None}
    screen.print_rows("clip", clip | ({"why": shown.why} if shown.why else {}) | {"lies in": found.tar})
    screen.print_rows("scores", found.scores)
    screen.say(f"{key}: {found.clip['decision']}" + (f"; contact sheet in {sheet}" if sheet else ""))


def _print_faults(faults: Sequence[Fault]) -> None:
    """A line a fault, those of one object together."""
    by_object: dict[str, list[Fault]] = {}
    for fault in faults:
        by_object.setdefault(fault.object, []).append(fault)
    lines = [str(fault) for some in by_object.values() for fault in some]
    for line in lines[:_FAULTS_SHOWN]:
        print(screen.printable(line.replace("\n", " ")))
    if (more := len(lines) - _FAULTS_SHOWN) > 0:
        screen.say(f"and {more} faults more; --json has them all")


def _print_failed(store: Store, *, as_json: bool) -> None:
    from pipeline.build import books_of, read_config

    books = books_of(read_config(store), store)
    rows = books.rows.select(["state", "url", "title", "detail", "video_id"])
    ended = [row for row in rows.to_pylist() if row["state"].startswith(("failed:", "rejected:"))]
    ended.sort(key=lambda row: (row["state"], row["url"]))
    if as_json:
        screen.print_json(ended)
        return
    for row in ended:
        print(screen.printable(f"{row['state']}  {row['url']}  {row['detail'] or ''}".replace("\n", " ")))
    forgotten = f"; {books.forgotten} were forgotten, and nothing is known of them" if books.forgotten else ""
    screen.say(f"{len(ended)} videos failed or were rejected{forgotten}")


def _status_line(found: Status) -> str:
    books = "the books balance" if found.balanced else "THE BOOKS DO NOT BALANCE"
    if found.unlisted:
        books += (
            f": no list of candidates names {found.unlisted:,} videos that were ingested or rejected; "
            "`genieset discover CONFIG` finds again what is still there"
        )
    return f"{found.shards} shards, {found.bytes:,} bytes; {books}"
