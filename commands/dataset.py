"""The commands that look at a dataset."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands import screen
from commands.arguments import Dataset, Json
from shards.errors import UserError

if TYPE_CHECKING:
    from pipeline.status import Status
    from shards.store import Store


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
    as_json: Json = False,
) -> None:
    """Hash, count and decode everything a version says it holds."""
    from shards.manifest import read_version
    from shards.store import Store
    from shards.verify import verify as verify_version

    store = Store(dataset)
    with screen.progress() as progress:
        found = verify_version(
            store,
            read_version(store, version),
            sample,
            lambda done, total: progress.step("verify", done, total, f"shard {done}"),
        )
    if as_json:
        screen.print_json(asdict(found))
    else:
        for fault in found.faults:
            print(screen.printable(f"{fault.where}: {fault.what}"))
        screen.say(
            f"version {found.version}: {found.shards} shards, {found.samples} clips, "
            f"{found.decoded} decoded, " + (f"{len(found.faults)} faults" if found.faults else "no fault")
        )
    if found.faults:
        raise typer.Exit(1)


def show(
    dataset: Dataset,
    key: Annotated[str, typer.Argument(help="The clip's key, <video_id>_<first frame>.")],
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of the clip to this PNG.")] = None,
    as_json: Json = False,
) -> None:
    """One clip: where it is from, its scores, and why it was kept or dropped."""
    from pipeline.show import show as show_clip
    from shards.store import Store

    shown = show_clip(Store(dataset), key)
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


def _print_failed(store: Store, *, as_json: bool) -> None:
    from pipeline.build import books_of, read_config

    rows = books_of(read_config(store), store).rows.select(["state", "url", "title", "detail", "video_id"])
    ended = [row for row in rows.to_pylist() if row["state"].startswith(("failed:", "rejected:"))]
    ended.sort(key=lambda row: (row["state"], row["url"]))
    if as_json:
        screen.print_json(ended)
        return
    for row in ended:
        print(screen.printable(f"{row['state']}  {row['url']}  {row['detail'] or ''}".replace("\n", " ")))
    screen.say(f"{len(ended)} videos failed or were rejected")


def _status_line(found: Status) -> str:
    books = "the books balance" if found.balanced else "THE BOOKS DO NOT BALANCE"
    return f"{found.shards} shards, {found.bytes:,} bytes; {books}"
