"""Real videos, made by the ffmpeg that the product ships with; each kind once a session."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import pytest
import yaml
from hypothesis import settings

pytest_plugins = ["tests.stores", "tests.disks"]

# How long an example takes is the machine's affair.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()

MakeVideo = Callable[..., Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--every-kill`: what is killed at a sample of its operations is killed at each; `make kills`."""
    parser.addoption(
        "--every-kill",
        action="store_true",
        help="kill at every storage operation and request, not at a sample of them",
    )


@pytest.fixture(scope="session")
def every_kill(pytestconfig: pytest.Config) -> bool:
    """Whether work is killed at each of its operations, and not at a sample; see `tests.faults.points`."""
    return bool(pytestconfig.getoption("--every-kill"))


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> MakeVideo:
    """make_video("name.mp4", source="testsrc2=...", out=[...]) -> path; arguments are ffmpeg's."""
    folder = tmp_path_factory.mktemp("videos")

    def make(name: str, source: str, out: list[str] | None = None, vf: str | None = None) -> Path:
        command = [FFMPEG, "-nostdin", "-v", "error", "-f", "lavfi", "-i", source]
        command += ["-vf", vf] if vf else []
        command += out if out is not None else ["-c:v", "libx264", "-preset", "ultrafast"]
        recipe = folder / hashlib.sha256(" ".join(command).encode()).hexdigest()[:16]
        path = recipe / name
        if not path.exists():
            recipe.mkdir(exist_ok=True)
            new = recipe / f"new-{name}"
            subprocess.run([*command, str(new)], check=True, capture_output=True, timeout=120)
            new.rename(path)
        return path

    return make


@pytest.fixture(scope="session")
def moving(make_video: MakeVideo) -> Path:
    """35 seconds of a moving picture, 64x36 at 15 fps: two clips and a rest."""
    return make_video("moving.mp4", "testsrc2=size=64x36:rate=15:duration=35")


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Write a build config over a dataset in this test's folder; returns its path."""

    def write(sources: list[dict[str, object]], **blocks: object) -> Path:
        path = tmp_path / "build.yaml"
        body = {"dataset": str(tmp_path / "dataset"), "sources": sources, **blocks}
        path.write_text(yaml.safe_dump(body))
        return path

    return write


@pytest.fixture(scope="session")
def untrained() -> Callable[..., str]:
    """Save a classifier that has learned nothing in a folder: untrained(folder, rule) -> its id."""

    def save(folder: Path, rule: object = None) -> str:
        # Not at import time: most tests need no torch.
        import torch

        from filters.classifier.artifact import save_classifier, weights_bytes
        from filters.classifier.backbones import build_model
        from shards.store import Store
        from tests.cards import empty_card

        torch.manual_seed(0)
        weights = weights_bytes(build_model("resnet18", {}))
        card = empty_card(weights, rule=rule)
        return save_classifier(Store(folder), card, weights)

    return save


@pytest.fixture(scope="session")
def hostile(make_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published dataset of hostile titles; see `tests.published`. Nobody writes to it: copy it."""
    # Not at import time: most tests need no build.
    from tests.published import publish_hostile

    root = tmp_path_factory.mktemp("hostile")
    publish_hostile(root, make_video)
    return root / "set"
