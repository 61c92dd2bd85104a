"""Random windows a second of CPU: ours, the floor below which nobody gets, and what others' loaders do.

Everybody makes batches of random windows from the same clips, as many of them, in a process of its own that
stays open, on one core and in one thread; the files are in the page cache. Planes and colours are told
apart: ours are planes where a GPU makes the colours, peers give RGB.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import stream_peers
from bench.driven import Contender, Turn, turns_of
from bench.rounds import CannotRun
from bench.shuffle import shuffle_quality
from bench.stream_contenders import FLOORS, OURS, PEERS, VISITS, Entry, with_workers
from bench.stream_driver import Settings
from bench.stream_sample import HOME
from shards.errors import UserError
from shards.index import read_index
from shards.manifest import ShardEntry, read_version
from shards.store import Store

MOST_CLIPS = 20_000
"""Peers convert all clips to their formats, and the index of all is held here."""

TARGETS = {
    "floor / planes": 1.3,
    "planes / best peer": 2.5,
    "planes / decord2": 4.0,
    "floor / planes, ten a visit": 1.3,
    "planes / best peer, ten a visit": 1.5,
}
"""What is wanted of `ratios`: at most of a floor's windows a second to ours, at least of ours to a peer's."""

_BATCHES_A_TURN = 20
_WARM = 4


def bench_stream(
    dataset: str | Path,
    *,
    split: str,
    batch_size: int,
    window: int,
    seed: int,
    rounds: int,
    peers: bool,
    on_turn: Callable[[int, int, str], None],
    only: Sequence[str] = (),
    batches: int = _BATCHES_A_TURN,
) -> dict[str, Any]:
    """Measure contenders on a dataset in a local folder.

    Args:
        peers: whether other loaders take part; they are installed once.
        only: names of ours and of floors that take part; all if it is empty.

    Raises:
        UserError: there is no such dataset or split, it lies in a bucket, has clips of several lengths or
            too many of them.
    """
    store = Store(dataset)
    version = read_version(store)
    shards = [entry for entry in version.shards if entry.split == split]
    frames = _frames(store, shards, split)
    home = HOME / version.hash[:16]
    home.mkdir(parents=True, exist_ok=True)
    entries = [entry for entry in (*OURS, *FLOORS) if not only or entry.name in only]
    missing = _install() if peers else None
    entries += [*(PEERS if peers and not missing else ()), *([] if only else with_workers(peers))]
    settings = Settings(
        dataset=str(store.root),
        split=split,
        home=str(home),
        frames=frames,
        window=window,
        batch_size=batch_size,
        aligned=True,
        visits=1,
        workers=0,
        warm=_WARM,
    )
    clips = _places(store, shards) if peers else []
    with tempfile.TemporaryDirectory() as folder:
        contenders = [_contender(entry, settings, clips, Path(folder)) for entry in entries]
        turns = turns_of(contenders, rounds, batches, on_turn)
    told = {entry.name: _figures(entry, turns[entry.name]) for entry in entries}

    def of_kind(kind: str, workers: bool = False) -> dict[str, Any]:
        chosen = [entry for entry in entries if entry.kind == kind and bool(entry.workers) == workers]
        return {entry.name: told[entry.name] for entry in chosen}

    others = of_kind("peers") | ({"all": {"missing": missing}} if missing else {})
    return {
        "benchmark": "stream",
        "clips": sum(entry.samples for entry in shards),
        "window": window,
        "batch_size": batch_size,
        "rounds": rounds,
        "measured": of_kind("measured"),
        "floor": of_kind("floor"),
        "peers": others,
        "workers": of_kind("measured", True) | of_kind("peers", True),
        "ratios": ratios(turns),
        "targets": TARGETS,
        "shuffle": asdict(shuffle_quality(store, shards, window, seed, batch_size)),
    }


def ratios(turns: Mapping[str, list[Turn] | str]) -> dict[str, float]:
    """Windows a CPU second of one to another's, medians over the rounds, as far as both ran.

    A floor is the decoder with its pictures kept, as whoever makes a batch has to. Where a peer is named
    the windows begin anywhere in both; the best peer is the fastest in the median.
    """
    planes, visits = "planes, anywhere", "planes, ten a visit"
    pairs = {
        "floor / planes": ("decode and keep", "planes"),
        "floor / planes, anywhere": ("decode and keep, anywhere", planes),
        "floor / planes, ten a visit": ("decode and keep, ten a visit", visits),
        "decode alone / planes": ("decode alone", "planes"),
        "decode alone / planes, anywhere": ("decode alone, anywhere", planes),
        "decode alone / planes, ten a visit": ("decode alone, ten a visit", visits),
    }
    for what, ours in (("planes", planes), ("RGB uint8", "RGB uint8, anywhere")):
        pairs[f"{what} / best peer"] = (ours, _best(turns, starts="anywhere", visits=1))
        pairs[f"{what} / decord2"] = (ours, "webdataset + decord2")
    for what in ("planes", "RGB uint8"):
        pairs[f"{what} / best peer, aligned"] = (what, _best(turns, starts="aligned", visits=1))
        pairs[f"{what} / decord2, aligned"] = (what, "webdataset + decord2, aligned")
        best = _best(turns, starts="aligned", visits=VISITS)
        pairs[f"{what} / best peer, ten a visit"] = (f"{what}, ten a visit", best)
    found = {}
    for name, (one, other) in pairs.items():
        ones, others = turns.get(one), turns.get(other)
        if isinstance(ones, list) and isinstance(others, list) and ones and others:
            found[name] = median(
                a.windows_per_cpu_s / b.windows_per_cpu_s for a, b in zip(ones, others, strict=True)
            )
    return found


def _best(turns: Mapping[str, list[Turn] | str], *, starts: str, visits: int) -> str:
    speeds = {
        entry.name: _speed(found)
        for entry in PEERS
        if entry.emits != "nothing" and (entry.starts, entry.visits) == (starts, visits)
        if isinstance(found := turns.get(entry.name), list) and found
    }
    return max(speeds, key=lambda name: speeds[name], default="")


def _speed(turns: list[Turn]) -> float:
    return median(turn.windows_per_cpu_s for turn in turns)


def _figures(entry: Entry, turns: list[Turn] | str) -> dict[str, Any]:
    if isinstance(turns, str):
        return {"missing": turns}
    speeds = [turn.windows_per_cpu_s for turn in turns]
    waits_s = np.array([wait for turn in turns for wait in turn.batch_s])
    p50, p95, p99 = (float(value) for value in np.percentile(waits_s * 1000, (50, 95, 99)))
    return {
        "windows_per_cpu_s": median(speeds),
        "least": min(speeds),
        "most": max(speeds),
        "cpu_ms_per_window": 1000 / median(speeds),
        "windows_per_s": median(turn.windows / turn.wall_s for turn in turns),
        "batch_ms": {"p50": p50, "p95": p95, "p99": p99},
        "read_bytes_per_window": sum(t.read_bytes for t in turns) / sum(t.windows for t in turns),
        "emits": entry.emits,
        "starts": entry.starts,
        "windows_per_visit": entry.visits,
        "workers": entry.workers,
    }


def _contender(entry: Entry, base: Settings, clips: list[tuple[str, int, int]], folder: Path) -> Contender:
    told = asdict(base) | {"aligned": entry.starts == "aligned", "workers": entry.workers}
    file = folder / f"{len(list(folder.iterdir()))}.json"
    if entry.kind == "peers":
        for name in ("dataset", "split", "visits"):
            del told[name]
        file.write_text(json.dumps(told | {"clips": clips}))
        words, variables = stream_peers.command(entry.does, file), stream_peers.environment()
    else:
        file.write_text(json.dumps(told | {"visits": entry.visits}))
        words, variables = (sys.executable, "-m", "bench.stream_driver", entry.does, str(file)), {}
    return Contender(entry.name, words, variables, None if entry.workers else 1)


def _install() -> str | None:
    try:
        stream_peers.install()
    except CannotRun as why:
        return str(why)
    return None


def _frames(store: Store, shards: list[ShardEntry], split: str) -> int:
    """How many frames each clip has."""
    if store.is_remote:
        raise UserError(f"dataset {store.url}: lies in a bucket, and peers read files; copy it to a folder")
    lengths = {length for entry in shards for length, count in entry.clips_by_frames.items() if count}
    if len(lengths) != 1:
        raise UserError(
            f"dataset {store.url}: split {split} has clips of {sorted(lengths) or 'no'} frames; give one "
            "whose clips all have the same"
        )
    clips = sum(entry.samples for entry in shards)
    if clips > MOST_CLIPS:
        raise UserError(
            f"dataset {store.url}: has {clips:,} clips, and peers would convert all of them; give one of at "
            f"most {MOST_CLIPS:,}"
        )
    return lengths.pop()


def _places(store: Store, shards: list[ShardEntry]) -> list[tuple[str, int, int]]:
    return [
        (str(store.path(entry.name)), placed.offset, placed.size)
        for entry in shards
        for placed in read_index(store, entry.name)
    ]
