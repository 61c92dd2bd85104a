"""The command that lets people judge clips."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from commands import screen
from commands.arguments import Dataset
from shards.errors import UserError

if TYPE_CHECKING:
    from labelling.server import Desk
    from shards.store import Store

_PORT = 8160
_TOKEN_BYTES = 16


def label(
    dataset: Dataset,
    plan: Annotated[
        str,
        typer.Option(
            help="Which clips: random, stratum:COLUMN (an equal share of each value), "
            "near:SCORE=VALUE (the nearest first), near:classifier or near:ID (its threshold), dropped, "
            "or audit (an equal share of each decision)."
        ),
    ] = "random",
    clips: Annotated[int, typer.Option(min=1, help="How many clips.")] = 200,
    seed: Annotated[int, typer.Option(help="Another seed draws other clips.")] = 0,
    labeller: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who labels; the page asks where it is not told.")
    ] = None,
    overlap: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the clips that every labeller is shown.")
    ] = 0.1,
    host: Annotated[
        str, typer.Option(help="Where to listen; other than loopback, with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = _PORT,
    token: Annotated[
        str | None, typer.Option(help="What the address must hold; made up where it is needed.")
    ] = None,
    export: Annotated[
        bool, typer.Option("--export", help="Only write labels/labels.jsonl, and serve no page.")
    ] = False,
) -> None:
    """Judge clips from 1 (bad) to 5 (good gameplay) on a page, with one key a clip."""
    from labelling.answers import Answers, export_labels
    from labelling.answers import export as write_labels
    from labelling.clips import ClipReader, read_catalog
    from labelling.database import Database
    from labelling.elsewhere import import_labels
    from labelling.guard import is_loopback
    from labelling.queue import open_queue
    from labelling.resolve import resolve_plan
    from labelling.server import Desk, labeller_name, listen, make_app, serve
    from labelling.wide import WideFrames
    from shards.runs import writing
    from shards.store import Store

    store = Store(dataset)
    if export:
        with writing(store, "label"):
            _summarise(store, export_labels(store), None)
        return
    try:
        name = None if labeller is None else labeller_name(labeller)
    except ValueError as error:
        raise UserError(f"--labeller: {error}") from None
    if token is not None and not (token.isascii() and token.isalnum()):
        raise UserError("--token: give letters and digits; they stand in an address")
    if token is None and not is_loopback(host):
        token = secrets.token_hex(_TOKEN_BYTES)
    with ExitStack() as serving:
        serving.enter_context(writing(store, "label"))
        catalog, plan = resolve_plan(store, read_catalog(store), plan)
        listener = serving.enter_context(listen(host, port))
        database = serving.enter_context(Database(store))
        import_labels(store, database)
        queue = open_queue(database, store, catalog, plan, clips, seed, overlap)
        answers = Answers(database)
        keys = queue.keys()
        reader = ClipReader(store, catalog, keys)
        wide = serving.enter_context(WideFrames(store, reader))
        desk = Desk(queue, answers, reader, wide, name)
        place = f"[{host}]" if ":" in host else host
        address = f"http://{place}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")
        print(f"{len(keys)} clips to label at {address} (Ctrl-C ends it)", flush=True)
        try:
            serve(make_app(desk, host, token), listener)
        except KeyboardInterrupt:
            pass  # how one is done
        finally:
            _summarise(store, write_labels(store, answers), desk)


def _summarise(store: Store, count: int, desk: Desk | None) -> None:
    from labelling.elsewhere import LABELS_FILE

    if count:
        screen.say(f"{count} labels in {store.where(LABELS_FILE)}{_agreed(desk) if desk else ''}")
    elif store.exists(LABELS_FILE):
        screen.say(f"no labels: none that was given still stands, and {store.where(LABELS_FILE)} is empty")
    else:
        screen.say("no labels")


def _agreed(desk: Desk) -> str:
    found = desk.agreement()
    if not found.clips:
        return ""
    alpha = "cannot be told" if found.shown is None else f"{found.shown:.2f}"
    return f"; {found.clips} clips of this plan labelled more than once, agreement (alpha) {alpha}"
