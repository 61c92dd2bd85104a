"""The command that measures how fast datasets are streamed into training, and proves what is streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import screen
from commands.arguments import Json
from shards.errors import UserError

if TYPE_CHECKING:
    from bench.stream_scale import Scale


def bench_stream(
    dataset: Annotated[
        str | None, typer.Argument(help="The dataset's folder or URL; clips of the samples by default.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which part of the dataset.")] = "train",
    batch_size: Annotated[int, typer.Option(min=2, help="Windows in a global batch.")] = 32,
    window: Annotated[int, typer.Option(min=1, help="Frames a window.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the order.")] = 0,
    digest: Annotated[
        bool, typer.Option("--digest", help="Print one SHA-256 a global step instead; decodes nothing.")
    ] = False,
    world_size: Annotated[int, typer.Option(min=1, help="With --digest: ranks that share a batch.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="With --digest: how many steps.")] = 10,
    from_step: Annotated[int, typer.Option(min=0, help="With --digest: the first step.")] = 0,
    clips: Annotated[
        int | None, typer.Option(min=64, help="Measure opening and resuming of so many synthetic clips.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender has its turn.")] = 5,
    peers: Annotated[
        bool, typer.Option("--peers", help="Run other loaders too; installs them once.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Random windows a CPU second, against other loaders; or what each step's batch is made of."""
    if digest and (clips or peers):
        raise UserError("--digest: cannot be had with --clips or --peers; ask for one of them")
    if not digest and (world_size, steps, from_step) != (1, 10, 0):
        raise UserError("--world-size, --steps, --from-step: mean something with --digest alone; add it")
    if digest:
        _print_digests(
            dataset,
            as_json,
            split=split,
            batch_size=batch_size,
            window=window,
            seed=seed,
            world_size=world_size,
            steps=steps,
            from_step=from_step,
        )
        return
    if clips:
        from bench.stream_scale import measure

        with screen.progress() as progress:
            scale = measure(clips, batch_size, progress.note)
        _print_scale(scale, as_json)
        return
    from bench.stream import bench_stream as run
    from bench.stream_sample import sample_dataset

    with screen.progress() as progress:
        if dataset is None:
            progress.note("making the sample's clips, unless they are there")
        found = run(
            dataset or sample_dataset(),
            split=split,
            batch_size=batch_size,
            window=window,
            seed=seed,
            rounds=rounds,
            peers=peers,
            on_turn=lambda done, total, what: progress.step("bench", done, total, what),
        )
    if as_json:
        screen.print_json(found)
    else:
        _print_speeds(found)


def _print_digests(dataset: str | None, as_json: bool, **settings: Any) -> None:
    from trainer_bridge import batch_digests

    if dataset is None:
        raise UserError("--digest: of which dataset? give its folder or URL")
    digests = batch_digests(dataset, **settings)
    if as_json:
        screen.print_json(settings | {"digests": list(digests)})
        return
    for line in digests:
        screen.say(line)


def _print_speeds(found: dict[str, Any]) -> None:
    heads = (
        "windows a CPU s",
        "windows a s",
        "batch p50",
        "p95",
        "p99 ms",
        "read a window",
        "emits",
        "starts",
    )
    for title, key in (
        ("genieset", "measured"),
        ("floors", "floor"),
        ("peers", "peers"),
        ("with workers", "workers"),
    ):
        if found[key]:
            screen.print_columns(title, heads, {name: _row(row) for name, row in found[key].items()})
    shuffle = found["shuffle"]
    screen.print_columns(
        f"{shuffle['batches']} batches, {shuffle['ranks']} ranks",
        ("pairs of a clip", "pairs of a video", "shards a rank"),
        {
            name: (f"{mix['same_clip']:.3%}", f"{mix['same_video']:.3%}", f"{mix['shards_per_rank']:.1f}")
            for name, mix in (("genieset", shuffle["ours"]), ("all permuted", shuffle["permuted"]))
        }
        | {"genieset, not sorted": ("", "", f"{shuffle['unsorted_shards_per_rank']:.1f}")},
    )
    targets = found["targets"]
    rows = {
        name: f"{ratio:.2f}"
        + (f" (target {'<=' if 'floor' in name else '>='} {targets[name]:g})" if name in targets else "")
        for name, ratio in found["ratios"].items()
    }
    screen.print_rows("ratios of windows a CPU second", rows)
    told = [f"{name} {found['ratios'][name]:.2f}" for name in targets if name in found["ratios"]]
    screen.say(f"{found['clips']:,} clips: {', '.join(told)}")


def _row(figures: dict[str, Any]) -> tuple[str, ...]:
    if "missing" in figures:
        return (f"not run: {figures['missing']}", *[""] * 7)
    waits = figures["batch_ms"]
    return (
        f"{figures['windows_per_cpu_s']:,.0f}",
        f"{figures['windows_per_s']:,.0f}",
        *(f"{waits[name]:.0f}" for name in ("p50", "p95", "p99")),
        f"{figures['read_bytes_per_window'] / 1000:,.1f} kB",
        figures["emits"],
        figures["starts"],
    )


def _print_scale(scale: Scale, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        screen.print_json(asdict(scale))
        return
    screen.print_columns(
        f"{scale.clips:,} clips in {scale.shards:,} shards, {scale.disk_bytes / 1e6:,.0f} MB on disk",
        ("opened", "first batch", "next batch", "resumed", "memory above the libraries", "largest child"),
        {
            f"step {place.step:,}, {place.workers} workers": (
                f"{place.open_s * 1000:.0f} ms",
                f"{place.first_batch_s * 1000:.0f} ms",
                f"{place.next_batch_s * 1000:.0f} ms",
                f"{place.resume_s * 1000:.0f} ms",
                f"{(place.peak_bytes - place.base_bytes) / 1e6:,.0f} MB",
                f"{place.child_peak_bytes / 1e6:,.0f} MB" if place.workers else "",
            )
            for place in scale.places
        },
    )
    first, last = scale.places[0], max(scale.places, key=lambda place: place.step)
    screen.say(
        f"{scale.clips:,} clips: step {last.step:,} is resumed in {last.resume_s * 1000:.0f} ms, step "
        f"{first.step:,} in {first.resume_s * 1000:.0f} ms"
    )
