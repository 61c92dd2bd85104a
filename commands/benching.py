"""The commands that measure how fast it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import screen
from commands.arguments import Jobs, Json
from shards.errors import UserError

if TYPE_CHECKING:
    from bench.duplicates import Scale


def bench_cut(
    videos: Annotated[
        list[Path] | None, typer.Argument(help="Your own videos; renditions of a sample by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender has its turn.")] = 3,
    peers: Annotated[bool, typer.Option("--peers", help="Run video2dataset too; installs it once.")] = False,
    hours: Annotated[
        float | None, typer.Option(min=0.1, help="Measure memory instead, over a source of so many hours.")
    ] = None,
    as_json: Json = False,
) -> None:
    """CPU that ingest takes, against one ffmpeg that makes the same clips."""
    for video in videos or []:
        if not video.is_file():
            raise UserError(f"{video}: no such file")
    if hours:
        _print_memory(hours, as_json)
        return
    from bench.cut import bench_cut as run
    from bench.peer_video2dataset import NAME, prepare

    with screen.progress() as progress:
        result = run(
            videos or [],
            rounds,
            lambda done, total, what: progress.step("bench", done, total, what),
            {NAME: prepare} if peers else {},
        )
    if as_json:
        screen.print_json(result)
    else:
        _print_costs(result)


def bench_score(
    videos: Annotated[
        list[Path] | None, typer.Argument(help="Your own videos; the samples of gameplay by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each clip is measured.")] = 3,
    classifier: Annotated[
        Path | None,
        typer.Option(help="The folder of a trained classifier (DATASET/classifiers/ID): measure it too."),
    ] = None,
    as_json: Json = False,
) -> None:
    """CPU that each scorer takes for a clip."""
    for video in videos or []:
        if not video.is_file():
            raise UserError(f"{video}: is no file; name videos")
    from bench.score import bench_score as run

    with screen.progress() as progress:
        result = run(
            videos or [],
            rounds,
            lambda done, total, what: progress.step("bench", done, total, what),
            classifier,
        )
    if as_json:
        screen.print_json(result)
        return
    ((floor, decoding),) = result["floor"].items()
    rows = {
        f"{name} ({figures['view']})": f"{figures['cpu_ms_per_clip']:.1f} ms"
        for name, figures in result["measured"].items()
    }
    screen.print_rows("score", rows | {floor: f"{decoding['cpu_ms_per_clip']:.1f} ms"}, right=True)
    dearest = max(result["measured"].items(), key=lambda row: float(row[1]["cpu_ms_per_clip"]))
    screen.say(f"the dearest scorer is {dearest[0]}: {dearest[1]['cpu_ms_per_clip']:.0f} ms of CPU a clip")


def bench_engine(
    videos: Annotated[Path, typer.Argument(help="A folder of videos to cut.")] = Path("examples/gameplay"),
    units: Annotated[int, typer.Option(min=1, help="How many units that do nothing.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each number of jobs has its turn.")] = 3,
    as_json: Json = False,
) -> None:
    """CPU of the driver for each unit, and of a clip with one job and with two."""
    from bench.engine import TARGET_DRIVER_MS, TARGET_SCALING, measure

    with screen.progress() as progress:
        found = measure(videos, units, rounds, progress.note)
    if as_json:
        targets = {"driver_ms": TARGET_DRIVER_MS, "scaling": TARGET_SCALING}
        screen.print_json(asdict(found) | {"scaling": found.scaling, "targets": targets})
        return
    rows = {
        f"driver CPU a unit, of {found.units:,}": f"{found.driver_ms:.2f} ms (target {TARGET_DRIVER_MS:g})",
        "wall clock a unit": f"{found.wall_ms:.2f} ms",
        "CPU a clip, one job": f"{found.one_job_s * 1000:.0f} ms",
        "CPU a clip, two jobs": f"{found.two_jobs_s * 1000:.0f} ms",
        "two jobs are faster by": f"{found.speedup:.2f}",
    }
    screen.print_rows("engine", rows)
    screen.say(
        f"a clip costs {found.scaling:.2f} times as much CPU with two jobs (target {TARGET_SCALING:g})"
    )


def bench_ledger(
    commits: Annotated[int, typer.Option(min=1, help="How many videos have ended.")] = 1_000_000,
    as_json: Json = False,
) -> None:
    """Time, memory and calls that a large dataset's books are read with."""
    from bench.ledger import measure

    with screen.progress() as progress:
        found = measure(commits, progress.note)
    if as_json:
        screen.print_json(asdict(found))
        return
    for name, reading in (("resume", found.resume), ("status", found.status)):
        more = (reading.peak_bytes - reading.base_bytes) / 1e6
        rows = {
            "seconds": f"{reading.seconds:.1f}",
            "memory above the libraries": f"{more:,.0f} MB",
            "listing calls": f"{reading.listings:,}",
            "objects read": f"{reading.reads:,}",
        }
        screen.print_rows(name, rows, right=True)
    screen.say(f"{found.commits:,} commits: resumed in {found.resume.seconds:.1f} s")


def bench_publish(
    clips: Annotated[int, typer.Option(min=16, help="How many clips there are.")] = 1_000_000,
    jobs: Jobs = 1,
    as_json: Json = False,
) -> None:
    """Time and memory of curate and publish, and which shards a second version keeps."""
    from bench.publish import measure

    with screen.progress() as progress:
        found = measure(clips, jobs, progress.note)
    if as_json:
        screen.print_json(asdict(found))
        return
    steps = {
        "curate": found.curate,
        "publish": found.first.step,
        "curate, 1% more": found.curate_again,
        "publish, 1% more": found.second.step,
    }
    screen.print_columns(
        f"{found.clips:,} clips",
        ("seconds", "CPU seconds", "memory", "largest child"),
        {
            name: (
                f"{step.seconds:.0f}",
                f"{step.cpu_s:.0f}",
                f"{step.peak_bytes / 1e6:,.0f} MB",
                f"{step.child_peak_bytes / 1e6:,.0f} MB",
            )
            for name, step in steps.items()
        },
    )
    written = found.second.shards - found.second.kept_shards
    screen.say(
        f"{found.first.clips:,} clips in {found.first.shards} shards; with {found.more_clips:,} clips more "
        f"{found.second.kept_shards} shards are kept and {written} written"
    )


def bench_verify(
    dataset: Annotated[str, typer.Argument(help="The dataset's folder or URL.")] = "data/demo",
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender has its turn.")] = 5,
    as_json: Json = False,
) -> None:
    """CPU that verifying a clip takes, against hashing and decoding alone."""
    from bench.verify import bench_verify as run
    from shards.store import Store

    with screen.progress() as progress:
        found = run(
            Store(dataset), rounds, lambda done, total, what: progress.step("bench", done, total, what)
        )
    if as_json:
        screen.print_json(found)
        return
    rows = {
        name: f"{figures['cpu_ms_per_clip']:.1f} ms"
        for name, figures in (found["floor"] | found["measured"]).items()
    }
    screen.print_rows("CPU a clip", rows, right=True)
    (ratio,) = found["ratios"].values()
    screen.say(f"{found['clips']:,} clips; verify takes {ratio:.2f} times the floor")


def bench_quality(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Of gameplay, one video of each source; or what is shipped.")
    ] = None,
    pieces: Annotated[int, typer.Option(min=4, help="Clips of each video; half of them are spoilt.")] = 16,
    epochs: Annotated[int, typer.Option(min=1, help="How long ResNet18 learns, at most.")] = 14,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Json = False,
) -> None:
    """How well the classifier tells gameplay from planted distractors, by source video."""
    from bench.quality import GAMEPLAY
    from bench.quality import bench_quality as run
    from pipeline.engine.choose import open_engine

    with open_engine(1) as engine, screen.progress() as progress:
        found = run(folders or GAMEPLAY, pieces, epochs, seed, engine, progress)
    if as_json:
        areas = {
            title: {name: area.model_dump(mode="json") for name, area in told.items()}
            for title, told in (("auc", found.auc), ("shuffled", found.shuffled))
        }
        screen.print_json({"kinds": found.kinds, "videos": found.videos, **areas})
        return
    screen.print_counts("clips", found.kinds)
    for title, auc in (("AUC", found.auc), ("AUC with labels shuffled", found.shuffled)):
        rows = {name: screen.figure(area.value, area.low, area.high) for name, area in auc.items()}
        screen.print_rows(f"{title}, cross-validated by video, with 95% intervals", rows)
    screen.say(f"{sum(found.kinds.values())} clips of {found.videos} videos; labels are what was planted")


def bench_duplicates(
    videos: Annotated[Path, typer.Option(help="A folder of videos of which copies are made.")] = Path(
        "examples/gameplay"
    ),
    clips: Annotated[
        int | None, typer.Option(min=1, help="Measure among so many synthetic clips instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How well copies of footage are found, and what that takes among many clips."""
    from bench.duplicates import measure_planted, measure_scale

    if clips:
        scale = measure_scale(clips)
        if as_json:
            screen.print_json(asdict(scale))
        else:
            _print_scale(scale)
        return
    if not videos.is_dir():
        raise UserError(f"--videos {videos}: no such folder")
    with screen.progress() as progress:
        planted = measure_planted(videos, progress.note)
    if as_json:
        screen.print_json(asdict(planted))
        return
    screen.print_columns(
        f"copies of {planted.videos} videos, {planted.originals} clips",
        ("found", "of those that move", "pairs", "false", "dropped wrongly"),
        {
            name: (
                f"{kind.found} of {kind.clips}",
                f"{kind.moving_found} of {kind.moving}",
                f"{kind.pairs}",
                f"{kind.false_pairs}",
                f"{kind.false_drops}",
            )
            for name, kind in planted.kinds.items()
        },
    )
    promised = [kind for kind in planted.kinds.values() if not kind.reported_only]
    found, moving, wrong = (
        sum(getattr(kind, name) for kind in promised) for name in ("moving_found", "moving", "false_drops")
    )
    screen.say(
        f"{found} of {moving} copied clips in which something moves are found, {wrong} clips dropped "
        f"wrongly; a fingerprint takes {planted.cpu_ms:.1f} ms"
    )


def _print_scale(scale: Scale) -> None:
    rows = {
        "seconds": f"{scale.seconds:.0f}",
        "fingerprints": f"{scale.fingerprint_bytes / 1e6:,.0f} MB",
        "memory above them": f"{scale.peak_bytes / 1e6:,.0f} MB",
        "bands sorted": f"{scale.entries:,}",
        "pairs proposed": f"{scale.candidates:,}",
        "pairs found": f"{scale.pairs:,}",
        "of them false": f"{scale.false_pairs:,}",
    }
    screen.print_rows(f"{scale.clips:,} clips", rows, right=True)
    screen.say(f"{scale.found:,} of {scale.planted:,} planted pairs are found in {scale.seconds:.0f} s")


def _print_costs(result: dict[str, Any]) -> None:
    floor = result["ratios"]["one ffmpeg"]
    rows = {"genieset": result["measured"], "one ffmpeg": result["floor"]} | result["peers"]
    for source in result["measured"]:
        screen.print_rows(source, {name: _cost(costs[source]) for name, costs in rows.items()})
    ratios = ", ".join(f"{source} {ratio:.2f}" for source, ratio in floor.items())
    screen.say(f"ingest takes so many times the CPU of one ffmpeg that makes the same clips: {ratios}")


def _cost(figures: dict[str, Any]) -> str:
    if "missing" in figures:
        return f"not run: {figures['missing']}"
    each = f", {figures['cpu_ms_per_clip']:.0f} ms a clip" if figures["clips"] else ""
    return f"{figures['cpu_s']:.2f} CPU s, {figures['clips']} clips{each}"


def _print_memory(hours: float, as_json: bool) -> None:
    from bench.long_source import bench_memory

    peaks = bench_memory(hours)
    if as_json:
        screen.print_json(asdict(peaks))
        return
    before, worker, ffmpeg = (
        f"{size / 1e6:.0f}" for size in (peaks.libraries_bytes, peaks.worker_bytes, peaks.ffmpeg_bytes)
    )
    screen.say(
        f"{peaks.hours:g} hours, {peaks.clips} clips, {peaks.cpu_s:.0f} CPU s: "
        f"the worker rose from {before} to {worker} MB, its ffmpeg to {ffmpeg} MB"
    )
