"""What the documents show is run, so that they stay true."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from filters.base import ClipFrames, Scorer, measure
from pipeline.build import build
from pipeline.config import load_config
from pipeline.engine.child import OneChild
from shards.records import ContentBox
from tests.quiet import Quiet

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
EXPORTS = (ROOT / "docs" / "exports.md").read_text()
STREAMING = (ROOT / "docs" / "streaming.md").read_text()
WITH_EXAMPLES = ("shards", "shards.keys", "filters", "pipeline", "labelling", "trainer_bridge")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted
    assert not results.failed


# webdataset leaves the files it opens to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_readme_s_config_builds_and_its_python_runs_on_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config, more = blocks(README, "yaml")
    Path("opt-out.txt").write_text("channel: somebody else\n")
    settings = yaml.safe_load(config) | yaml.safe_load(more)
    assert settings["sources"].pop()["kind"] == "web"  # there is no web here
    settings["titles"] = None
    settings["curate"]["splits"] = {"train": 1.0}
    settings["shards"] = {"max_bytes": "1MB"}
    Path("my.yaml").write_text(yaml.safe_dump(settings))
    load_config(Path("my.yaml"))
    Path("videos").mkdir()
    shutil.copy(ROOT / "examples" / "gameplay" / "jumper_bunny.mp4", "videos")
    build(load_config(Path("my.yaml")), OneChild(), Quiet())
    shown, reader = blocks(README, "python")
    exec(compile(shown, "README.md", "exec"), {})
    assert "torch.Size([4, 16, 3, 90, 160])" in capsys.readouterr().out
    names: dict[str, Any] = {}
    exec(compile(reader, "README.md", "exec"), names)
    assert names["sample"]["json"]["n_frames"] == 160
    shutil.copytree("data/mine", "data/other")
    examples = blocks(STREAMING, "python")
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "streaming.md", "exec"), {})


def test_what_is_handed_on_is_what_the_documents_say(hostile: Path, tmp_path: Path) -> None:
    shutil.copytree(hostile, tmp_path / "data" / "mine")
    shown = re.findall(
        r"^genieset ((?:query|extract|export) .*?)(?: +#.*)?$", README + EXPORTS, flags=re.MULTILINE
    )
    assert len(shown) >= 10
    quiet = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    quiet |= {"WIDS_CACHE": str(tmp_path / "wids"), "PYTHONPATH": str(ROOT)}
    commands = [[sys.executable, "-m", "genieset", *shlex.split(line)] for line in shown]
    commands += [[sys.executable, "-c", code] for code in blocks(EXPORTS, "python")]
    for command in commands:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, **quiet}
        )
        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout


def test_every_command_the_readme_shows_exists() -> None:
    shown = set(re.findall(r"genieset ([a-z]+)", README))
    told = subprocess.run(
        [sys.executable, "-P", "-m", "genieset", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert shown
    assert {
        command for command in shown if not re.search(rf"^│ {command} ", told, flags=re.MULTILINE)
    } == set()


def test_the_readme_s_error_is_the_error(write_config: Callable[..., Path], tmp_path: Path) -> None:
    said = re.search(r"^error: my\.yaml: (.*)$", README, flags=re.MULTILINE)
    assert said
    path = write_config([{"kind": "files", "path": "."}], scorer=["motion"])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "genieset", "build", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == f"error: {path}: {said[1]}\n"


def test_the_scorer_of_contributing_works(tmp_path: Path) -> None:
    (code,) = (block for block in blocks(CONTRIBUTING, "python") if "Scorer" in block)
    path = tmp_path / "brightness.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("brightness", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scorer: Scorer = module.Brightness()
    import numpy as np

    clip = ClipFrames(np.full((4, 135, 160), 51, np.uint8), ContentBox(0, 0, 160, 90), 10)
    assert measure([scorer], clip) == {"brightness": {"brightness": 0.2}}


def test_the_house_in_contributing_is_the_house() -> None:
    told = set(re.findall(r"^([a-z_]+)/  ", CONTRIBUTING, flags=re.MULTILINE))
    assert told == {
        "bench",
        "commands",
        "configs",
        "examples",
        "shards",
        "filters",
        "pipeline",
        "labelling",
        "trainer_bridge",
        "tests",
    }
    for name in told:
        assert (ROOT / name).is_dir()


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = CONTRIBUTING.split("## Why each dependency")[1]
    for name in project["dependencies"]:
        assert re.search(rf"\b{re.escape(name)}\b", table), f"{name} has no line in CONTRIBUTING.md"


def test_the_readme_is_finished() -> None:
    assert not re.findall(r"<[A-Z]+>", README)
