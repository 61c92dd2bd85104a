"""How much CPU `genieset verify` takes for a clip.

The floor is what cannot be left out: the shards' bytes are hashed, and each clip is decoded by the decoder
that did not encode it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.rounds import Work, median_cpu_s, median_ratio, take_turns
from pipeline.verify import staged_packs
from shards.checks.faults import Fault
from shards.checks.staged import check_pack
from shards.errors import UserError
from shards.index import read_clip, read_index
from shards.manifest import Version, read_version
from shards.store import Store
from shards.verify import verify

FLOOR = "hash the shards, decode the clips"
ALL = "verify"
_NOT_DECODED = "verify, but decode one clip a shard"
_STAGED = "verify a clip that is staged"


def bench_verify(store: Store, rounds: int, on_turn: Callable[[int, int, str], None]) -> dict[str, Any]:
    """CPU milliseconds a clip, medians over the rounds, of one process that has loaded what it needs.

    Measured is the newest version of a dataset, and its packs if they are still there.

    Raises:
        UserError: nothing is published there, or there are faults.
    """
    version = read_version(store)
    packs, _ = staged_packs(store, commits_sound=True)
    clips = sum(version.splits.values())
    staged = sum(pack.clips or 0 for pack in packs)

    def whole(_: Path) -> None:
        _sound(verify(store, version).faults)

    def not_decoded(_: Path) -> None:
        _sound(verify(store, version, sample=len(version.shards)).faults)

    def packed(_: Path) -> None:
        _sound(tuple(fault for pack in packs for fault in check_pack(store, pack)))

    contenders: dict[str, Work] = {ALL: whole, FLOOR: lambda _: _floor(store, version)}
    contenders |= {_NOT_DECODED: not_decoded} | ({_STAGED: packed} if staged else {})
    for work in contenders.values():
        work(Path())  # libraries are loaded before anything is measured
    turns = take_turns(
        {name: partial(_prepared, work) for name, work in contenders.items()}, rounds, _none, on_turn
    )
    costs = {name: cost for name, cost in turns.items() if isinstance(cost, list)}
    ms = {
        name: {"cpu_ms_per_clip": 1000 * median_cpu_s(cost) / (staged if name == _STAGED else clips)}
        for name, cost in costs.items()
    }
    return {
        "benchmark": "verify",
        "clips": clips,
        "rounds": rounds,
        "measured": {name: figures for name, figures in ms.items() if name != FLOOR},
        "floor": {FLOOR: ms[FLOOR]},
        "peers": {},
        "ratios": {ALL: median_ratio(costs[ALL], costs[FLOOR])},
    }


def _floor(store: Store, version: Version) -> None:
    import decord

    for entry in version.shards:
        with store.open(entry.name) as file:
            hashlib.file_digest(file, "sha256")
        for placed in read_index(store, entry.name):
            mp4 = read_clip(store, entry.name, placed).mp4
            reader = decord.VideoReader(io.BytesIO(mp4), num_threads=1)
            reader.get_batch(range(len(reader))).asnumpy()


def _sound(faults: tuple[Fault, ...]) -> None:
    if faults:
        raise UserError(f"{faults[0]}; give a dataset without faults, or bring the object back from a copy")


def _prepared(work: Work) -> Work:
    return work


def _none(_: Path) -> int:
    """Nothing is made."""
    return 0
