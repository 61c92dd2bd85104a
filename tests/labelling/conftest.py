from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.build import build
from pipeline.config import BuildConfig
from pipeline.engine.child import OneChild

EXAMPLES = Path(__file__).parents[2] / "examples"


class Silent:
    def step(self, stage: str, done: int, total: int, what: str) -> None: ...

    def note(self, message: str) -> None: ...


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips of two games and two sites; some of them are dropped."""
    folder = tmp_path_factory.mktemp("label")
    videos = folder / "videos"
    videos.mkdir()
    for name in ("coinrun_hard_run", "supertux_afk"):
        (videos / f"{name}.mp4").symlink_to(EXAMPLES / "gameplay" / f"{name}.mp4")
    config = {
        "dataset": str(folder / "set"),
        "sources": [{"kind": "files", "path": str(videos)}],
        "curate": {"rules": {"static": "motion >= 0.01"}},
    }
    build(BuildConfig.model_validate(config), OneChild(), Silent())
    return folder / "set"


@pytest.fixture
def fresh(dataset: Path, tmp_path: Path) -> Path:
    """The same dataset without any label."""
    copy = tmp_path / "set"
    copy.mkdir()
    for part in dataset.iterdir():
        if part.name != "labels":
            (copy / part.name).symlink_to(part)
    return copy


@dataclass
class Server:
    process: subprocess.Popen[str]
    address: str

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> str:
        """Ctrl-C; returns what the command said last."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=60)[0]


@contextmanager
def serving(dataset: Path, *options: str) -> Iterator[Server]:
    """`genieset label` as a user runs it; at a free port unless one is asked for."""
    port = () if "--port" in options else ("--port", "0")
    command = [sys.executable, "-P", "-m", "genieset", "label", str(dataset), *port, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert " at http" in line, line
            yield Server(process, line.split(" at ")[1].split(" ")[0].strip())
        finally:
            process.kill()


@pytest.fixture
def serve(fresh: Path) -> Callable[..., AbstractContextManager[Server]]:
    return lambda *options: serving(fresh, *options)
