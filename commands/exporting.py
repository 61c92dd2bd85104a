"""The commands that take something out of a dataset: answers, clips, and views of it for other libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from commands import screen
from commands.arguments import Dataset, Decided, Json
from shards.errors import UserError

if TYPE_CHECKING:
    from shards.manifest import Version as Published
    from shards.store import Store

_SHOWN_ROWS = 100

Version = Annotated[int | None, typer.Option(min=1, help="The version; the newest by default.")]


def query(
    dataset: Dataset,
    sql: Annotated[str, typer.Argument(help="A SELECT over `videos` and `clips`.")],
    version: Decided = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"Give so many rows; by default {_SHOWN_ROWS}, with --json all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask the catalog in SQL (DuckDB's): it is only read, and nothing else is within reach."""
    from shards.query import query as ask
    from shards.query import read_views
    from shards.store import Store

    if limit is None and not as_json:
        limit = _SHOWN_ROWS
    answer = ask(read_views(Store(dataset), version), sql, limit)
    if as_json:
        rows = [[_plain(value) for value in row] for row in answer.rows]
        screen.print_json({"columns": answer.columns, "rows": rows, "more": answer.more})
        return
    screen.print_table(answer.columns, answer.rows)
    screen.say(f"{len(answer.rows):,} rows" + ("; there are more, --limit gives them" if answer.more else ""))


def extract(
    dataset: Dataset,
    out: Annotated[str, typer.Option(help="The folder or URL to write to.")],
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="The clips' keys; or give --where.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="Clips that fulfil this, e.g. 'motion > 0.1'.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Of those, write only the first so many.")] = None,
    version: Decided = None,
) -> None:
    """Write clips, kept or dropped, to a folder: <key>.mp4, and what is known of each as <key>.json."""
    from shards.extract import extract as extract_clips
    from shards.query import keys_where, read_views
    from shards.store import Store

    if bool(keys) == bool(where):
        both = ", and not both" if keys else ""
        raise UserError(
            f"extract: give the keys of clips, or --where with an SQL predicate on their columns{both}"
        )
    store = Store(dataset)
    views = read_views(store, version)
    # A key that is given twice is one clip.
    wanted = keys_where(views, where) if where else list(dict.fromkeys(keys or ()))
    if not wanted:
        raise UserError(f"--where {where!r}: no clip fulfils it")
    done = extract_clips(store, views, wanted[:limit], Store(out))
    left_out = len(wanted) - len(wanted[:limit])
    screen.say(
        f"{done.written:,} clips written to {out}"
        + (f", {done.already_there:,} were there" if done.already_there else "")
        + (f"; {left_out:,} more are left out by --limit" if left_out else "")
    )


def export(
    dataset: Dataset,
    to: Annotated[str, typer.Option(metavar="KIND", help="wids, hf or croissant.")],
    version: Version = None,
    out: Annotated[
        str | None, typer.Option(help="Write it to this folder; by default into the dataset's exports/.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the dataset is called.")] = None,
    push: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Upload to this repository of Hugging Face; hf.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="A repository that is new is public.")] = False,
    local_paths: Annotated[
        bool, typer.Option("--local-paths", help="Publish where local videos lie, too: the catalog says it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Describe a version for another library, which then reads the very shards; no clip is copied."""
    from shards.export.write import export_version
    from shards.manifest import read_version
    from shards.store import Store

    if push is not None and to != "hf":
        raise UserError(f"--push: goes with --to hf, not with --to {to}")
    if public and push is None:
        raise UserError("--public: goes with --push")
    store = Store(dataset)
    found = read_version(store, version)
    local = _told_of_local_files(store, found) if push is not None else None
    if local and public and not local_paths:
        raise UserError(f"--public: {local}; --local-paths says that the world may see them")
    exported = export_version(store, found, to, out=out, name=name)
    pushed: dict[str, object] = {}
    if push is not None:
        from shards.export.push import push as push_version

        with screen.progress() as progress:
            if local:
                progress.note(local)
            done = push_version(
                store,
                found,
                push,
                name=name,
                private=not public,
                on_part=lambda part, parts: progress.step("push", part, parts, f"part {part}"),
            )
        pushed = {"repository": done.url, "uploaded": done.uploaded, "removed": done.removed}
    if as_json:
        screen.print_json(
            {"version": found.number, "folder": exported.folder, "files": exported.files} | pushed
        )
        return
    screen.say(
        f"version {found.number}: {', '.join(exported.files)} in {exported.folder}"
        + (f"; {pushed['uploaded']} objects pushed to {pushed['repository']}" if pushed else "")
    )


def _told_of_local_files(store: Store, version: Published) -> str | None:
    """What who gets the catalog learns of this machine; None if nothing."""
    from shards.query import query as ask
    from shards.query import read_views

    told = ask(read_views(store, version.number), "SELECT count(*) FROM videos WHERE url NOT LIKE 'http%'")
    ((count,),) = told.rows
    return f"the catalog is uploaded too, and names {count:,} local files by their paths" if count else None


def _plain(value: object) -> object:
    """A value of DuckDB's as JSON has it; what JSON has no word for is text."""
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)
