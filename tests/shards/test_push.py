"""An upload to a hub over HTTP: whole, resumed, of a later version, refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.build import build
from pipeline.config import BuildConfig
from pipeline.engine.child import OneChild
from shards.manifest import read_version
from shards.store import Store
from shards.verify import verify
from tests.published import publish_hostile
from tests.quiet import Quiet
from tests.shards.hub import TOKEN, Hub

Push = Callable[..., subprocess.CompletedProcess[str]]
REPOSITORY = "someone/some-clips"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def push(hub: Hub, tmp_path: Path) -> Push:
    """push(dataset, *options) -> what `genieset export --to hf --push` did."""

    def run(
        dataset: Path, *options: str, token: str = TOKEN, url: str = hub.url
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "genieset", "export", str(dataset), "--to", "hf"]
        command += ["--push", REPOSITORY, *options]
        home = {"HF_ENDPOINT": url, "HF_TOKEN": token, "HF_HOME": str(tmp_path / "hf")}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **home}
        )

    return run


@pytest.fixture
def dataset(hostile: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(hostile, tmp_path / "set"))


def objects_of(dataset: Path) -> dict[str, bytes]:
    """What a repository that shows the newest version holds, but its card."""
    store = Store(dataset)
    version = read_version(store)
    names = [name for shard in version.shards for name in (shard.name, shard.name[:-4] + ".parquet")]
    names += [version.name]
    for kind in ("videos", "clips"):
        names += [name for name in store.list(f"catalog/{kind}") if f"/{version.number:06d}-" in name]
    return {name: store.read(name) for name in names}


def shown(hub: Hub) -> dict[str, bytes]:
    files = dict(hub.repositories[REPOSITORY])
    del files[".gitattributes"]
    return files


def test_what_is_uploaded_is_the_version_and_its_card(
    dataset: Path, push: Push, hub: Hub, tmp_path: Path
) -> None:
    done = push(dataset)
    assert done.returncode == 0, done.stderr
    files = shown(hub)
    card = files.pop("README.md").decode()
    assert files == objects_of(dataset)
    assert hub.visibility == {REPOSITORY: "private"}
    assert "note: the catalog is uploaded too, and names 5 local files by their paths" in done.stderr
    assert f"pushed to {hub.url}/datasets/{REPOSITORY}" in done.stdout
    assert "../" not in card
    for name in files:
        assert (f"- {name}\n" in card) == name.endswith(".tar")
    # Who downloads it has a dataset.
    for name, data in files.items():
        path = tmp_path / "copy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    store = Store(tmp_path / "copy")
    assert verify(store, read_version(store)).faults == ()
    (tmp_path / "copy" / "README.md").write_text(card)
    script = """
import sys
from datasets import Video, load_dataset
splits = load_dataset(sys.argv[1], streaming=True)
print(sum(1 for clips in splits.values() for _ in clips.cast_column("mp4", Video(decode=False))))
"""
    quiet = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    read = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "copy")],
        capture_output=True, text=True, check=True, timeout=120, env={**os.environ, **quiet},
    )  # fmt: skip
    assert read.stdout == "6\n"


def test_again_sends_nothing_but_a_small_commit(dataset: Path, push: Push, hub: Hub) -> None:
    assert push(dataset, "--public", "--local-paths").returncode == 0
    before, sent = shown(hub), len(hub.uploads)
    assert push(dataset).returncode == 0
    assert (shown(hub), len(hub.uploads)) == (before, sent)
    assert hub.visibility == {REPOSITORY: "public"}


def test_an_upload_that_is_cut_off_shows_what_was_there_and_goes_on(
    push: Push, hub: Hub, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    config = publish_hostile(tmp_path / "later", make_video)
    dataset = Path(config.dataset)
    assert push(dataset).returncode == 0
    first = shown(hub)
    next_version(config)

    hub.refuse_commit = len(hub.commits) + 1  # the one with the card
    refused = push(dataset)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith(f"error: --push {REPOSITORY}: ")
    assert shown(hub)["README.md"] == first["README.md"]
    assert shown(hub).items() >= first.items(), "all that the old card names is still there"

    hub.refuse_commit, sent = -1, len(hub.uploads)
    assert push(dataset).returncode == 0
    assert len(hub.uploads) == sent, "what was sent is not sent again"
    files = shown(hub)
    assert files.pop("README.md") != first["README.md"]
    assert files == objects_of(dataset), "and nothing of the old version is left"
    assert first.keys() - files.keys()


def next_version(config: BuildConfig) -> None:
    """Another one, without one of the videos."""
    path = next(Path(config.sources[0].path).glob("1.mp4"))  # type: ignore[attr-defined]
    later = config.model_copy(update={"opt_out": type(config.opt_out)([f"*/{path.name}"])})
    build(later, OneChild(), Quiet())


def test_a_repository_of_something_else_is_left_alone(dataset: Path, push: Push, hub: Hub) -> None:
    hub.repositories[REPOSITORY] = {".gitattributes": b"", "README.md": b"my thesis"}
    done = push(dataset)
    assert done.returncode == 2
    assert "holds something that is no dataset of ours" in done.stderr
    assert shown(hub) == {"README.md": b"my thesis"}


def test_what_the_hub_refuses_is_one_line(dataset: Path, push: Push, hub: Hub) -> None:
    for done in (push(dataset, token="hf_wrong"), push(dataset, url="http://127.0.0.1:9")):
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(f"error: --push {REPOSITORY}: ")
        assert "Traceback" not in done.stderr
    assert hub.repositories == {}
