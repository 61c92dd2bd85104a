"""The other end of `tests.faults.killable`: hands it builds, and reads how they ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType

ROOT = Path(__file__).parents[2]

# One thread at the fork: neither a pool of OpenBLAS nor the housekeeper of pyarrow's allocator.
_SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


@dataclass(frozen=True)
class Run:
    """How a build ended.

    Attributes:
        signal: that killed it, or None.
        exit_code: with which it ended by itself, or None.
        operations: those it reached, in order; a killed run ends with the one it was killed at.
        log: the operations, with the syncs between them.
    """

    signal: int | None
    exit_code: int | None
    operations: list[str]
    log: list[str]


class Killer:
    """Runs builds one after the other, each in a process that may be killed. A context manager.

    Args:
        scratch: where the builds put what they download and log.
        environment: what is added to that of the tests.
    """

    def __init__(self, scratch: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        scratch.mkdir()
        self._pid: Future[int] = Future()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.killable"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **_SINGLE_THREADED, **environment, "TMPDIR": str(scratch)},
            text=True,
        )

    def __enter__(self) -> Killer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def build(self, config: Path, kill_at: int | None = None) -> Run:
        """Build once; with `kill_at`, be killed at the operation of that number, counted from 1."""
        return self._run(config, kill_at, "build")

    def ingest(self, config: Path) -> Run:
        """Do the stages of a build that come before `publish`."""
        return self._run(config, None, "ingest")

    def publish(self, config: Path, kill_at: int | None = None) -> Run:
        """Decide on the clips and publish them: the last two stages of a build; otherwise like `build`."""
        return self._run(config, kill_at, "publish")

    def collect(self, config: Path, kill_at: int | None = None) -> Run:
        """Collect the garbage of a build's dataset once, keeping one version; otherwise like `build`."""
        return self._run(config, kill_at, "gc")

    def forget(self, config: Path, videos: list[str], kill_at: int | None = None) -> Run:
        """Forget videos of a build's dataset; otherwise like `build`."""
        return self._run(config, kill_at, "forget", videos)

    def strike(self) -> None:
        """Kill the run that is under way, from any thread."""
        os.kill(self._pid.result(), signal.SIGKILL)

    def _run(self, config: Path, kill_at: int | None, work: str, videos: Sequence[str] = ()) -> Run:
        assert self._process.stdin
        assert self._process.stdout
        job = {"config": str(config), "kill_at": kill_at, "work": work, "videos": list(videos)}
        self._pid = Future()
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        self._pid.set_result(json.loads(self._process.stdout.readline())["pid"])
        answer = json.loads(self._process.stdout.readline())
        status = answer["status"]
        return Run(
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            operations=answer["operations"],
            log=answer["log"],
        )
