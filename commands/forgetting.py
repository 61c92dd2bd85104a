"""The command that takes videos out of a dataset for good."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from commands import screen
from commands.arguments import Dataset, Json
from shards.errors import UserError

if TYPE_CHECKING:
    from pipeline.forget import Concerned

_SHOWN = 40


def forget(
    dataset: Dataset,
    videos: Annotated[list[str] | None, typer.Argument(help="Ids of videos.", metavar="VIDEO_ID...")] = None,
    channel: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="All videos of a channel, by its name or id.")
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="All videos at this address; `*` stands for anything."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Forget them; without this it is only said.")] = False,
    as_json: Json = False,
) -> None:
    """Take videos out of everything that is stored, for good; only says what that is unless told --yes."""
    from labelling.purge import find_labels, purge_labels
    from pipeline.forget import Labels, look, unfinished
    from pipeline.forget import forget as forget_videos
    from pipeline.known_videos import find_videos
    from shards.store import Store

    store, labels = Store(dataset), Labels(find_labels, purge_labels)
    if not (videos or channel or url):
        raise UserError("forget: name a video by its id, or give --channel NAME or --url GLOB")
    begun = unfinished(store)
    try:
        found = find_videos(store, videos or (), channel or (), url or ())
    except UserError:
        if not (begun and yes):
            raise
        found = ()  # a run that was killed may have taken away what a channel was known by
    if not yes:
        concerned = look(store, found, labels)
        if as_json:
            screen.print_json({"forgotten": False, "video_ids": found, **asdict(concerned)})
        else:
            _print_concerned(found, concerned)
            for receipt in begun:
                screen.say(f"{receipt.name} was begun and is not done; --yes does the rest of it first")
        return
    with screen.progress() as progress:
        receipts = forget_videos(store, found, labels, progress)
    if as_json:
        screen.print_json([{"receipt": receipt.name, **asdict(receipt)} for receipt in receipts])
        return
    for receipt in receipts:
        withdrawn = ", ".join(map(str, receipt.withdrawn)) or "none"
        successor = f"version {receipt.successor} follows" if receipt.successor else "none follows"
        screen.say(
            f"{len(receipt.video_ids)} videos are forgotten; versions withdrawn: {withdrawn}; {successor}; "
            f"{receipt.name} lists {len(receipt.objects)} objects"
        )
    if not receipts:
        screen.say(f"nothing is left of {len(found)} videos: they were forgotten before")


def _print_concerned(videos: tuple[str, ...], concerned: Concerned) -> None:
    from pipeline.forget import FOREIGN

    _print_some("", videos)
    _print_some("would be changed or removed: ", concerned.objects)
    for number in concerned.damaged:
        print(f"version {number} is damaged: it may hold clips of them, and would be withdrawn, too")
    for name in concerned.foreign:
        print(screen.printable(f"{name}: {FOREIGN}"))
    screen.print_counts(
        "objects",
        {
            "shards": len(concerned.shards),
            "packs": len(concerned.packs),
            "all": len(concerned.objects),
        },
    )
    withdrawn = ", ".join(map(str, concerned.versions)) or "none"
    screen.say(
        f"{len(videos)} videos with {len(concerned.clips):,} clips; versions that would be withdrawn: "
        f"{withdrawn}; --yes forgets them for good"
    )


def _print_some(before: str, names: tuple[str, ...]) -> None:
    for name in names[:_SHOWN]:
        print(screen.printable(before + name))
    if len(names) > _SHOWN:
        print(f"and {len(names) - _SHOWN:,} more; --json has them all")
