"""The command `genieset`: which sub-commands there are, and how a mistake is told."""

from __future__ import annotations

import signal
import sys
from importlib import metadata
from typing import Annotated

import typer
from typer.exceptions import TyperException

from commands import (
    benching,
    benching_stream,
    building,
    classifying,
    dataset,
    exporting,
    forgetting,
    keeping,
    labelling,
    planning,
    scoring,
    screen,
    training,
)
from shards.errors import UserError

_INTERRUPTED = 128 + signal.SIGINT
_ENDED = 128 + signal.SIGTERM
_MISUSED = 2

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Make world-model datasets from video, and train on them.",
)
for command in (
    building.build,
    building.discover,
    building.ingest,
    building.curate,
    building.publish,
    planning.plan,
    dataset.status,
    dataset.verify,
    dataset.show,
    scoring.scorers,
    keeping.versions,
    keeping.gc,
    forgetting.forget,
    exporting.query,
    exporting.extract,
    exporting.export,
    labelling.label,
):
    app.command()(command)

train_app = typer.Typer(no_args_is_help=True, help="Train a model of Genie on a published dataset.")
train_app.command("tokenizer")(training.train_tokenizer)
app.add_typer(train_app, name="train")

classifier_app = typer.Typer(no_args_is_help=True, help="Learn from labels which clips are good.")
classifier_app.command("train")(classifying.train)
classifier_app.command("eval")(classifying.evaluate)
classifier_app.command("compare")(classifying.compare)
classifier_app.command("apply")(classifying.apply)
app.add_typer(classifier_app, name="classifier")

bench_app = typer.Typer(no_args_is_help=True, help="Measure how fast it is, against floors and peers.")
bench_app.command("cut")(benching.bench_cut)
bench_app.command("score")(benching.bench_score)
bench_app.command("engine")(benching.bench_engine)
bench_app.command("ledger")(benching.bench_ledger)
bench_app.command("publish")(benching.bench_publish)
bench_app.command("verify")(benching.bench_verify)
bench_app.command("stream")(benching_stream.bench_stream)
bench_app.command("quality")(benching.bench_quality)
bench_app.command("duplicates")(benching.bench_duplicates)
app.add_typer(bench_app, name="bench")


def _tell_release(asked: bool) -> None:
    if asked:
        print(f"genieset {metadata.version('genieset')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_release, is_eager=True, help="Tell the release.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; what a user can mend is one line, what is a bug keeps its trace."""
    # Whoever stops it so, a service manager say, is as well served as by Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_ENDED))
    try:
        code = app(prog_name="genieset", standalone_mode=False)
    except UserError as error:
        code = _refused(str(error))
    except TyperException as error:
        code = _misused(error)
    except SystemExit as end:
        code = end.code
    # Typer turns Ctrl-C into an exit without a word.
    if code in (_INTERRUPTED, _ENDED):
        print("interrupted; what is done is kept, the same command does the rest", file=sys.stderr)
    sys.exit(code)


def _misused(error: TyperException) -> int:
    """Tell what a command line lacks or has too much of, and where it is told what would be right."""
    said = getattr(error, "format_message", error.__str__)().strip().rstrip(".?")
    if not said:
        return _MISUSED  # asked for nothing, it has shown its help
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "genieset"
    return _refused(f"{said[:1].lower()}{said[1:]}; `{command} --help` tells more")


def _refused(why: str) -> int:
    print(f"error: {screen.printable(why)}", file=sys.stderr)
    return _MISUSED


if __name__ == "__main__":
    main()
