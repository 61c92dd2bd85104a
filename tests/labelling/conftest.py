"""A small real dataset, the real command that serves it, and clients of it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from pipeline.build import build
from pipeline.config import load_config
from pipeline.engine.child import OneChild
from tests.faults.commands import genieset
from tests.quiet import Quiet

GAMEPLAY = Path(__file__).parents[2] / "examples" / "gameplay"
VIDEOS = ("jumper_bunny", "coinrun_hard_run", "supertux_afk")


def make_dataset(folder: Path, videos: Iterable[str], **more: Any) -> Path:
    """Build sample videos into `folder`/set."""
    (folder / "videos").mkdir()
    for name in videos:
        for suffix in (".mp4", ".info.json"):
            shutil.copy(GAMEPLAY / f"{name}{suffix}", folder / "videos")
    config = {
        "dataset": str(folder / "set"),
        "sources": [{"kind": "files", "path": str(folder / "videos")}],
        "curate": {"rules": {"static": "motion >= 0.02"}, "splits": {"train": 1.0}},
    } | more
    (folder / "build.yaml").write_text(yaml.safe_dump(config))
    build(load_config(folder / "build.yaml"), OneChild(), Quiet())
    return folder / "set"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of three videos, some of them dropped. Nobody labels here: use `dataset`."""
    return make_dataset(tmp_path_factory.mktemp("labelling"), VIDEOS)


@pytest.fixture(scope="session")
def built_wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clips of one video, with wide frames. Nobody labels here: copy it."""
    folder = tmp_path_factory.mktemp("labelling_wide")
    return make_dataset(folder, VIDEOS[:1], frame={"wide": True})


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "set"))


@dataclass
class Reply:
    status: int
    headers: Message
    body: bytes


@dataclass
class Served:
    """A running `genieset label`."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port
        return port

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> str:
        """Ctrl-C; returns what it said at the end."""
        self.process.send_signal(signal.SIGINT)
        out, told = self.process.communicate(timeout=60)
        assert (self.process.returncode, told) == (0, "")
        return out

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send exactly this; underscores of header names stand for dashes."""
        content = None if body is None else json.dumps(body)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, content, sent)
            with connection.getresponse() as response:
                return Reply(response.status, response.headers, response.read())

    def told(self, method: str, path: str, body: Any = None) -> Any:
        reply = self.ask(method, path, body)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def plan(self) -> str:
        plan: str = self.told("GET", "/api/begin")["plan"]
        return plan


@pytest.fixture
def serve(dataset: Path, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """serve(*options) -> a running `genieset label` on the dataset, killed when the test is over.

    `on` serves another dataset.
    """
    with ExitStack() as running:

        def start(*options: str, on: Path = dataset) -> Served:
            arguments = ("label", str(on), *(() if "--port" in options else ("--port", "0")), *options)
            process = running.enter_context(genieset(*arguments, scratch=tmp_path / "scratch"))
            assert process.stdout
            url = re.search(r"http://\S+", process.stdout.readline())
            assert url, process.communicate(timeout=60)
            return Served(process, url[0])

        yield start
