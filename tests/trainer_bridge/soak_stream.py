"""Twenty thousand batches of one stream, without workers and with two: `make stream-soak`.

Says as one JSON object what its processes held after the warm-up and at the end, and exits non-zero if
they hold more then: memory (pages that are shared count once), descriptors, threads, processes, or what lies
in /dev/shm. One clip of the dataset is damaged, so that windows are replaced throughout.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from tests.faults.processes import marked
from tests.trainer_bridge.conftest import publish
from trainer_bridge.order import BLOCK_SHARDS

ROOT = Path(__file__).parents[2]
WARM_UP = 2_000
LOOKS = 10
"""Batches over which the least is taken: what is on its way from a worker is no growth."""

MOST_GROWTH = {"memory_bytes": 8 * 2**20, "shards": 3 * BLOCK_SHARDS, "descriptors": 4, "threads": 2}
"""Allocators move, how many shards are open depends on the place in the order, and the least of some looks
is no promise; a library may start a thread late. A kilobyte, a descriptor or a thread kept of each batch
would make 18 MB, or 18,000 of them."""

MARK = "SOAK_OF"


def main() -> int:
    """Run the soak; returns the exit code."""
    parser = argparse.ArgumentParser(description="Look whether a long stream holds on to anything.")
    parser.add_argument("--batches", type=int, default=20_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--sitting", nargs=2, metavar=("DATASET", "WORKERS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.sitting:
        print(json.dumps(sitting(args.sitting[0], int(args.sitting[1]), args.batches)))
        return 0
    report: dict[str, Any] = {"batches": args.batches}
    with tempfile.TemporaryDirectory(prefix="stream-soak-") as folder:
        dataset = make_dataset(Path(folder) / "set")
        for workers in args.workers:
            mark = uuid.uuid4().hex
            command = [
                sys.executable,
                "-m",
                "tests.trainer_bridge.soak_stream",
                "--batches",
                str(args.batches),
            ]
            done = subprocess.run(
                [*command, "--sitting", str(dataset), str(workers)],
                stdout=subprocess.PIPE,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT), MARK: mark},
                check=True,
            )
            report[f"workers={workers}"] = json.loads(done.stdout) | {"left_running": len(marked(mark))}
    report["grown"] = grown(report)
    print(json.dumps(report, indent=1))
    return 1 if report["grown"] else 0


def make_dataset(root: Path) -> Path:
    """40 shards, so that shards are closed and opened throughout; a clip of one is damaged."""
    root.mkdir()
    chance = random.Random(7)
    lengths = [[chance.choice((16, 24, 48, 64)) for _ in range(chance.randint(1, 5))] for _ in range(40)]
    publish(root, [("train", clips) for clips in lengths], height=32, width=48)
    tar = root / "shards/train-000003.tar"
    data = bytearray(tar.read_bytes())
    data[data.index(b"mdat") + 100] ^= 1
    tar.write_bytes(data)
    return root


def sitting(dataset: str, workers: int, batches: int) -> dict[str, Any]:
    """What this process and its workers hold, at four times of a stream."""
    import torch

    from trainer_bridge import open_stream

    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    stream = open_stream(dataset, batch_size=4, workers=workers)
    looked: dict[int, list[dict[str, int]]] = {}
    replaced = 0
    began_s = time.monotonic()
    points = [WARM_UP, *(WARM_UP + (batches - WARM_UP) * part // 3 for part in (1, 2, 3))]
    for batch in stream:
        replaced += len(batch.replaced)
        point = next((point for point in points if point - LOOKS <= batch.step + 1 <= point), None)
        if point:
            del batch
            looked.setdefault(point, []).append(held())
        if stream.step == batches:
            break
    least = {
        at: {name: min(look[name] for look in looks) for name in looks[0]} for at, looks in looked.items()
    }
    return {"seconds": round(time.monotonic() - began_s, 1), "replaced": replaced, "held": least}


def held() -> dict[str, int]:
    """What the processes of this sitting hold now."""
    gc.collect()
    mark = os.environ[MARK]
    names = ("memory_bytes", "descriptors", "shards", "threads", "processes", "in_dev_shm")
    totals = dict.fromkeys(names, 0)
    in_dev_shm = [path.name for path in Path("/dev/shm").iterdir()]  # torch puts the process in a name
    for pid in marked(mark):
        folder = Path("/proc") / str(pid)
        totals["processes"] += 1
        totals["threads"] += len(list((folder / "task").iterdir()))
        held_open = [str(path.readlink()) for path in (folder / "fd").iterdir() if path.is_symlink()]
        totals["shards"] += sum(target.endswith(".tar") for target in held_open)
        totals["descriptors"] += sum(not target.endswith(".tar") for target in held_open)
        totals["in_dev_shm"] += sum(f"_{pid}_" in name for name in in_dev_shm)
        lines = (folder / "smaps_rollup").read_text().splitlines()
        totals["memory_bytes"] += sum(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")
        )
    return totals


def grown(report: dict[str, Any]) -> list[str]:
    """What is more at the end than after the warm-up."""
    found = []
    for sat, told in report.items():
        if not isinstance(told, dict):
            continue
        found += [f"{sat}: {told['left_running']} processes are left"] if told["left_running"] else []
        first, *_, last = told["held"].values()
        for name in first:
            if last[name] > first[name] + MOST_GROWTH.get(name, 0):
                found.append(f"{sat}: {name} from {first[name]} to {last[name]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
