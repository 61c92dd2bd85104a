"""The house: imports run one way, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("shards", "filters", "pipeline", "labelling", "trainer_bridge", "bench", "commands")

MAY_IMPORT = {
    "shards": set(),
    "filters": {"shards"},
    "pipeline": {"filters", "shards"},
    "labelling": {"pipeline", "filters", "shards"},
    "trainer_bridge": {"shards"},
    "bench": {"shards", "filters", "pipeline", "trainer_bridge"},
    "commands": {"shards", "filters", "pipeline", "labelling", "trainer_bridge", "bench"},
}
RAY_AT = {
    "pipeline/engine/on_ray.py",
    "pipeline/engine/start_ray.py",
    "trainer_bridge/launch.py",
}
MODELS = "trainer_bridge/models/"


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, at any depth of it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    room = place.split("/")[0]
    names = imported(path)
    tops = {name.split(".")[0] for name in names}
    assert tops & {*ROOMS, "genieset"} <= MAY_IMPORT[room] | {room}
    if "ray" in tops:
        assert place in RAY_AT
    if place.startswith(MODELS):
        assert all(name.startswith("trainer_bridge.models") for name in names if name.split(".")[0] in ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_s_name_is_ours(room: str) -> None:
    """Unrelated packages on PyPI are called filters, pipeline and shards."""
    module = __import__(room)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == ROOT / room


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.splitlines()[-1].split())


HELP = """
import sys, genieset
sys.argv = ["genieset", "--help"]
try: genieset.main()
except SystemExit: pass
"""


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_after(HELP) & {
        "torch",
        "ray",
        "duckdb",
        "pyarrow",
        "numpy",
        "av",
        "decord",
        "yt_dlp",
        "boto3",
    }


@pytest.mark.parametrize(
    "module",
    [
        "shards.verify",
        "shards.index",
        "shards.extract",
        "shards.export.write",
        "shards.export.push",
        "filters.motion",
        "filters.quality",
        "filters.classifier.train",
        "filters.classifier.compare",
        "filters.classifier.resnet18",
        "filters.classifier.open_clip_probe",
        "pipeline.build",
        "pipeline.ingest",
        "labelling.server",
        "labelling.queue",
        "trainer_bridge",
    ],
)
def test_torch_is_never_loaded_by_importing(module: str) -> None:
    heavy = {"torch", "sklearn", "open_clip", "ray", "decord", "yt_dlp", "starlette", "uvicorn"}
    heavy |= {"datasets", "huggingface_hub", "mlcroissant", "wids", "pandas"}
    heavy |= {"boto3", "botocore", "google", "requests", "fsspec"}
    assert not loaded_after(f"import {module}") & heavy
