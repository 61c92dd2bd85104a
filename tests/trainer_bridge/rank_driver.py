"""One rank of a training; a script, run by tests that kill it.

    python -m tests.trainer_bridge.rank_driver KIND DATASET STATE RANK WORLD_SIZE

Goes on from the state in the file STATE if there is one, else from step 0. For each line on its standard
input it says one line of JSON: after `step` which windows its share of the next step had, as
`[key, start, CRC-32 of the pixels]`; after `save` that the state is in the file, whole or not at all.

light    the order and the reader alone, without torch
stream   `open_stream` with one worker
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH_SIZE, SEED = 8, 11
Windows = list[tuple[str, int, int]]


def light(dataset: str, saved: dict[str, Any] | None, rank: int, world_size: int) -> tuple[Any, Any]:
    from trainer_bridge.batches import BatchSettings, GlobalBatches

    batches = GlobalBatches(dataset, BatchSettings(BATCH_SIZE, seed=SEED))
    reader = batches.open_reader()
    step = 0
    if saved:
        batches.check(saved)
        step = int(saved["step"])

    def take() -> Windows:
        nonlocal step
        share = reader.read(batches.share(step, rank, world_size))
        step += 1
        pixels = [zlib.crc32(planes.tobytes()) for planes in share.planes]
        return list(zip(share.keys, share.starts, pixels, strict=True))

    return take, lambda: batches.state | {"step": step}


def stream(dataset: str, saved: dict[str, Any] | None, rank: int, world_size: int) -> tuple[Any, Any]:
    from trainer_bridge import open_stream

    one = open_stream(dataset, batch_size=BATCH_SIZE, seed=SEED, rank=rank, world_size=world_size, workers=1)
    if saved:
        one.load_state_dict(saved)

    def take() -> Windows:
        batch = next(one)
        pixels = [zlib.crc32(video.numpy().tobytes()) for video in batch.video]
        return list(zip(batch.keys, batch.starts, pixels, strict=True))

    return take, one.state_dict


KINDS: dict[str, Callable[..., tuple[Any, Any]]] = {"light": light, "stream": stream}


def main(kind: str, dataset: str, state: Path, rank: int, world_size: int) -> None:
    saved = json.loads(state.read_text()) if state.exists() else None
    take, state_dict = KINDS[kind](dataset, saved, rank, world_size)
    for asked in sys.stdin:
        if asked == "save\n":
            new = state.with_suffix(".new")
            new.write_text(json.dumps(state_dict()))
            new.replace(state)
            print("true", flush=True)
        else:
            print(json.dumps(take()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
