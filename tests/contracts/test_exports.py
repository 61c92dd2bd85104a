"""Every kind of export keeps the promise, and the library that it is for reads it; a new one is found."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from shards.errors import UserError
from shards.export.base import Export, export_kinds
from shards.export.write import export_version, exports_of
from shards.index import read_clip, read_index
from shards.manifest import read_version
from shards.store import Store

# Each is run in a process of its own with the paths of the files as arguments, and prints, for each
# sample, its key and the SHA-256 of its mp4.
READERS = {
    "wids": """
import hashlib, sys, wids
for path in sys.argv[1:]:
    clips = wids.ShardListDataset(path, transformations=[])
    for number in range(len(clips)):
        sample = clips[number]
        print(sample["__key__"], hashlib.sha256(sample[".mp4"].read()).hexdigest())
""",
    "hf": """
import hashlib, pathlib, sys
from datasets import Video, load_dataset
folder = pathlib.Path(sys.argv[1]).parent
found = []
for streaming in (True, False):
    splits = load_dataset(str(folder), streaming=streaming)
    assert set(splits) == {"train", "val"}, splits
    found.append([])
    for clips in splits.values():
        for sample in clips.cast_column("mp4", Video(decode=False)):
            assert sample["json"]["key"] == sample["__key__"]
            found[-1].append((sample["__key__"], hashlib.sha256(sample["mp4"]["bytes"]).hexdigest()))
assert found[0] == found[1]
for key, digest in found[0]: print(key, digest)
""",
    "croissant": """
import hashlib, sys, mlcroissant
read = mlcroissant.Dataset(sys.argv[1])
assert read.metadata.ctx.is_v1_1()
assert not read.metadata.ctx.issues.errors, read.metadata.ctx.issues.report()
kept = {row["clips/key"] for row in read.records("clips") if row["clips/decision"] == b"kept"}
videos = {row["videos/video_id"]: row for row in read.records("videos")}
samples = list(read.records("samples"))
assert kept == {sample["samples/key"] for sample in samples}
assert {row["videos/state"] for row in videos.values()} == {b"ingested", b"failed:unreadable"}
for sample in samples:
    assert sample["samples/key"].decode().rpartition("_")[0].encode() in videos
    print(sample["samples/key"].decode(), hashlib.sha256(sample["samples/mp4"]).hexdigest())
""",
}


@pytest.fixture(params=sorted(export_kinds()))
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind that there is; a new one is given its reader above."""
    found: str = request.param
    return found


@pytest.fixture
def dataset(hostile: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(hostile, tmp_path / "set"))


def written(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}


def read_back(kind: str, folder: str, home: Path, cwd: Path | None = None) -> dict[str, str]:
    """Key -> SHA-256 of the mp4, as the library reads them."""
    quiet = {"HOME": str(home), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1", "TMPDIR": str(home)}
    quiet |= {"WIDS_CACHE": str(home / "wids")}
    home.mkdir(exist_ok=True)
    paths = [str(path) for path in sorted(Path(folder).iterdir()) if path.is_file()]
    done = subprocess.run(
        [sys.executable, "-c", READERS[kind], *paths],
        capture_output=True, text=True, check=False, timeout=250, env={**os.environ, **quiet}, cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pairs = [line.split() for line in done.stdout.splitlines()]
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


def published(dataset: Path) -> dict[str, str]:
    store = Store(dataset)
    return {
        placed.clip.key: hashlib.sha256(read_clip(store, shard.name, placed).mp4).hexdigest()
        for shard in read_version(store).shards
        for placed in read_index(store, shard.name)
    }


def test_it_is_in_the_file_of_its_name_and_says_what_it_is(kind: str) -> None:
    found = export_kinds()[kind]
    assert issubclass(found, Export)
    assert found.__module__ == f"shards.export.{kind}"
    assert found.__doc__


def test_its_library_reads_every_clip_where_it_lies(kind: str, dataset: Path, tmp_path: Path) -> None:
    store = Store(dataset)
    exported = export_version(store, read_version(store), kind)
    assert Path(exported.folder) == dataset / "exports" / kind / "000001"
    assert read_back(kind, exported.folder, tmp_path / "home") == published(dataset)
    names = {f"exports/{kind}/000001/{file}" for file in exported.files}
    assert set(exports_of(store, 1)) == names, "and whoever takes the version away finds it"
    assert exports_of(store, 2) == []


def test_its_library_reads_every_clip_from_a_folder_outside(kind: str, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "far away" / "export"
    exported = export_version(Store(dataset), read_version(Store(dataset)), kind, out=str(out))
    assert not list((dataset / "exports").rglob("*"))
    assert not any(path.suffix in (".tar", ".mp4") for path in out.rglob("*"))
    assert read_back(kind, exported.folder, tmp_path / "home") == published(dataset)


def test_the_same_version_gives_the_same_bytes_wherever_it_lies(
    kind: str, hostile: Path, dataset: Path
) -> None:
    version = read_version(Store(hostile))
    found = []
    for place in (dataset, Path(shutil.copytree(hostile, dataset.parent / "else where" / "set"))):
        store = Store(place)
        found.append(written(export_version(store, version, kind).folder))
        # Again over itself.
        assert written(export_version(store, version, kind).folder) == found[-1]
    assert found[0] == found[1]
    for data in found[0].values():
        assert str(dataset.parent).encode() not in data
        assert str(hostile.parent).encode() not in data, "where a video lay is nobody's affair"


def test_a_folder_that_holds_something_else_is_left_alone(kind: str, dataset: Path, tmp_path: Path) -> None:
    store, out = Store(dataset), tmp_path / "out"
    exported = export_version(store, read_version(store), kind, out=str(out))
    before = written(str(out))
    assert export_version(store, read_version(store), kind, out=str(out)) == exported
    (out / exported.files[0]).write_text("mine")
    with pytest.raises(UserError, match=rf"^--out .*: {re.escape(exported.files[0])} lies there already"):
        export_version(store, read_version(store), kind, out=str(out))
    assert written(str(out)) == before | {exported.files[0]: b"mine"}


def test_what_strangers_wrote_ends_no_script_and_drives_no_terminal(kind: str, dataset: Path) -> None:
    store = Store(dataset)
    for data in written(export_version(store, read_version(store), kind).folder).values():
        text = data.decode()
        assert "<script" not in text
        assert "</script" not in text
        assert all(c.isprintable() or c == "\n" for c in text)


def test_a_name_is_a_name(kind: str, dataset: Path) -> None:
    store = Store(dataset)
    named = export_version(store, read_version(store), kind, name="My set")
    assert all(b"My set" in data for data in written(named.folder).values())
    for name in ("", "a\nb", "x: y", "<b>", "a" * 101):
        with pytest.raises(UserError, match=r"^--name"):
            export_version(store, read_version(store), kind, name=name)


def test_a_way_that_is_no_address_is_refused(hostile: Path, tmp_path: Path) -> None:
    dataset = Store(shutil.copytree(hostile, tmp_path / "50% [off]" / "set"))
    with pytest.raises(UserError, match=r"^--out .* has '%', which addresses and globs give a meaning"):
        export_version(dataset, read_version(dataset), "wids", out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_behind_a_link_is_reached(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    export_version(Store(dataset), read_version(Store(dataset)), "wids", out=str(tmp_path / "link" / "out"))
    for shard in json.loads((tmp_path / "link" / "out" / "train.json").read_text())["shardlist"]:
        assert (tmp_path / "link" / "out" / shard["url"]).is_file()


def test_what_there_is_not_is_told(dataset: Path) -> None:
    store = Store(dataset)
    with pytest.raises(UserError, match=r"^--to croisant: no such kind of export; did you mean croissant\?$"):
        export_version(store, read_version(store), "croisant")
    for path in (dataset / "catalog" / "videos").glob("000001-*"):
        path.unlink()
    with pytest.raises(UserError, match=r"catalog of videos of versions/000001.json is missing"):
        export_version(store, read_version(store), "hf")


@pytest.fixture
def card(dataset: Path) -> tuple[dict[str, Any], str]:
    """The header and the Markdown of the card."""
    store = Store(dataset)
    text = written(export_version(store, read_version(store), "hf").folder)["README.md"].decode()
    _, header, body = text.split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_card_s_header_holds_nothing_that_a_stranger_wrote(card: tuple[dict[str, Any], str]) -> None:
    header, body = card
    assert set(header) == {"configs", "license", "pretty_name", "size_categories", "tags"}
    assert header["license"] == "unknown", "for it is, of some"
    assert header["size_categories"] == ["n<1K"]
    assert "\n---\n" not in body


def test_the_card_is_rendered_without_a_tag_or_a_link_of_a_stranger_s(
    card: tuple[dict[str, Any], str],
) -> None:
    _, body = card
    rendered = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(body)
    tags = {tag.lower() for tag in re.findall(r"<\s*/?\s*([a-zA-Z][a-zA-Z0-9]*)", rendered)}
    assert tags <= {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "code", "pre"}
    assert "href" not in rendered
    # Each row has the cells of its head, and the channel's name is there as it was written.
    for table in re.findall(r"<table>.*?</table>", rendered, flags=re.DOTALL):
        rows = [re.findall(r"<t[hd][ >]", row) for row in re.findall(r"<tr>.*?</tr>", table, flags=re.DOTALL)]
        assert len({len(row) for row in rows}) == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt; [mine](javascript:alert(1))" in rendered
    assert "channel &lt;script" in rendered
    assert "<h1>Mine" not in rendered


def test_the_card_counts_what_there_is(card: tuple[dict[str, Any], str]) -> None:
    _, body = card
    assert "6 video clips (0.03 hours; 6 of 160 frames) of 3 source videos" in body
    assert "It is unknown for 2 of 6 clips" in body
    assert "| unknown | 2 | 1 | 0.01 |" in body
    assert "| CC-BY-4&#46;0 | 2 | 1 | 0.01 |" in body
    assert "Of 7 clips that were measured, 6 are kept" in body
    assert "| static | motion &#62;&#61; 0&#46;0001 | 1 |" in body
    assert "| failed&#58;unreadable | 1 |" in body
    assert "| ingested | 4 |" in body
    assert "Nothing looked for people's faces, text in the picture, near-duplicates" in body


def test_croissant_names_every_object_with_its_hash(dataset: Path) -> None:
    store = Store(dataset)
    folder = Path(export_version(store, read_version(store), "croissant").folder)
    told = json.loads((folder / "croissant.json").read_text())
    objects = [entry for entry in told["distribution"] if entry["@type"] == "cr:FileObject"]
    shards = {shard.name for shard in read_version(store).shards}
    assert shards < {entry["@id"] for entry in objects}
    for entry in objects:
        data = (folder / entry["contentUrl"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        assert f"{len(data)} B" == entry["contentSize"]
    columns = store.read_table(
        next(n for n in store.list("catalog/clips") if "curated" not in n)
    ).column_names
    clips = next(entry for entry in told["recordSet"] if entry["@id"] == "clips")
    assert [field["name"] for field in clips["field"]] == columns
