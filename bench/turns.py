"""The inside of a contender that stays open: it makes batches when told, and says what each turn cost.

It imports nothing that is not Python's own, so that a peer's environment can run it. Over standard input
comes a number of batches, over standard output goes one JSON object a turn.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def serve(open_batches: Callable[[], Iterator[int]], warm: int) -> None:
    """Make batches until standard input ends.

    Args:
        open_batches: what is endless; each item is the number of windows in a batch just made.
        warm: how many are made before the first turn, so that libraries, files, decoders and buffers
            are open and full.
    """
    # What libraries print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    batches = open_batches()
    for _ in range(warm):
        next(batches)
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_turn(batches, int(line))), file=answers, flush=True)


def _turn(batches: Iterator[int], count: int) -> dict[str, object]:
    windows, batch_s = 0, []
    cpu_s, read_bytes, began = _cpu_s(), _read_bytes(), time.perf_counter()
    for _ in range(count):
        asked = time.perf_counter()
        windows += next(batches)
        batch_s.append(time.perf_counter() - asked)
    return {
        "windows": windows,
        "wall_s": time.perf_counter() - began,
        "cpu_s": _cpu_s() - cpu_s,
        "read_bytes": _read_bytes() - read_bytes,
        "batch_s": batch_s,
    }


def _cpu_s() -> float:
    """Of this process, to the microsecond, and of its living descendants, to the kernel's tick."""
    ticks = 0
    for child in _descendants(os.getpid()):
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime: proc(5)
    return time.process_time() + ticks / _TICKS_PER_S


def _read_bytes() -> int:
    """What this process and its living descendants have read by system calls; not what they mapped."""
    total = 0
    for process in (os.getpid(), *_descendants(os.getpid())):
        (line,) = (
            line for line in Path(f"/proc/{process}/io").read_text().splitlines() if line.startswith("rchar")
        )
        total += int(line.split()[1])
    return total


def _descendants(process: int) -> Iterator[int]:
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except FileNotFoundError:  # a thread that has just ended
            continue
        for child in map(int, children):
            yield child
            yield from _descendants(child)
