"""Places on a node: a turn at one of its cores, and room on its disk.

Every process of a run on a node waits here before a part of its work begins. What is held is a file
lock, so a process that dies gives up its place with its last breath, whoever killed it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.engine import Part

_LOOK_EVERY_S = 0.02
_HEADROOM_BYTES = 1_000_000_000


class Places:
    """The places of one node.

    Args:
        folder: where the locks lie; whoever works on the node is given the same.
        cores: how many parts on the CPU side may go on at once.
    """

    def __init__(self, folder: Path, cores: int) -> None:
        self._folder = folder
        self._cores = cores

    @contextmanager
    def stay(self) -> Iterator[Callable[[Part], None]]:
        """Gives what waits for a place for a part of one unit.

        The core of the part before is given up first; room on the disk is kept until the end, since
        the bytes are.
        """
        with ExitStack() as room, ExitStack() as core:

            def enter(part: Part) -> None:
                core.close()
                if part.scratch_bytes:
                    room.enter_context(self._room(part.scratch_bytes))
                if part.side == "cpu":
                    core.enter_context(self._core())

            yield enter

    @contextmanager
    def _core(self) -> Iterator[None]:
        # Who waits at the door waits in the kernel, in the order they came; the first looks for a core.
        with _locked(self._folder / "door") as door:
            while True:
                for number in range(self._cores):
                    core = _try_lock(self._folder / f"core-{number}")
                    if core is not None:
                        break
                if core is not None:
                    break
                time.sleep(_LOOK_EVERY_S)
            fcntl.flock(door, fcntl.LOCK_UN)
            try:
                yield
            finally:
                os.close(core)

    @contextmanager
    def _room(self, size_bytes: int) -> Iterator[None]:
        lease = None
        while lease is None:
            with _locked(self._folder / "disk"):
                promised_bytes = sum(self._promises())
                free_bytes = shutil.disk_usage(tempfile.gettempdir()).free
                # Whoever is alone begins in any case: waiting would make no room.
                if not promised_bytes or promised_bytes + size_bytes + _HEADROOM_BYTES <= free_bytes:
                    lease = self._folder / f"room-{os.getpid()}-{time.monotonic_ns()}"
                    held = _lock(lease)
                    os.write(held, str(size_bytes).encode())
            if lease is None:
                time.sleep(_LOOK_EVERY_S)
        try:
            yield
        finally:
            lease.unlink(missing_ok=True)
            os.close(held)

    def _promises(self) -> Iterator[int]:
        """What each living process was promised; what the dead left is removed."""
        for lease in self._folder.glob("room-*"):
            dead = _try_lock(lease)
            if dead is None:
                yield int(lease.read_text() or 0)
            else:
                lease.unlink(missing_ok=True)
                os.close(dead)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    descriptor = _lock(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _try_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    os.close(descriptor)
    return None
