"""The whole way, on real videos: from files to verified shards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import webdataset

from pipeline.build import books_of, build, curate, discover, ingest
from pipeline.config import load_config
from pipeline.engine.child import OneChild
from pipeline.show import show
from pipeline.status import read_status
from shards.catalog import CLIPS, CURATED
from shards.codec import decode_clip
from shards.index import read_index
from shards.manifest import list_versions, read_version
from shards.store import Store
from shards.verify import verify
from tests.quiet import Quiet

WriteConfig = Callable[..., Path]
RULES = {"rules": {"static": "motion >= 0.0001"}, "splits": {"train": 0.5, "val": 0.5}}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, make_video: Any) -> Path:
    """A folder of what people have in folders."""
    folder = tmp_path_factory.mktemp("folder")
    for seed in range(3):
        source = f"testsrc2=size=64x36:rate=15:duration={33 + seed}"
        shutil.copy(make_video(f"moving{seed}.mp4", source, vf=f"hue=h={60 * seed}"), folder)
    shutil.copy(make_video("still.mp4", "color=red:size=64x36:rate=15:duration=17"), folder)
    shutil.copy(make_video("short.mp4", "testsrc2=size=64x36:rate=15:duration=3"), folder)
    shutil.copy(make_video("slow.mp4", "testsrc2=size=64x36:rate=4:duration=20"), folder)
    sine = ["-c:a", "aac", "-vn"]
    shutil.copy(make_video("sound.m4a", "sine=duration=2", out=sine), folder / "sound.mp4")
    (folder / "text.mp4").write_text("not a video\n" * 100)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "list.mp4").write_text("#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n")
    (folder / "readme.txt").write_text("a sidecar")
    (folder / ".hidden.mp4").write_text("left out")
    shutil.copy(folder / "moving0.mp4", folder / "copy of moving0.mp4")
    (folder / "moving1.info.json").write_text(
        json.dumps({"title": "Unboxing platformer gameplay \x1b[31m", "channel": "a"})
    )
    return folder


EXPECTED = {
    "failed:unreadable": 2,
    "failed:unsafe": 1,
    "ingested": 4,
    "rejected:low_fps": 1,
    "rejected:no_video": 1,
    "rejected:too_short": 1,
}


# webdataset leaves the files it opens to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_video_ends_in_its_state_and_every_clip_is_what_it_is_said_to_be(
    videos: Path, write_config: WriteConfig
) -> None:
    config = load_config(write_config([{"kind": "files", "path": str(videos)}], curate=RULES))
    progress = Quiet()
    built = build(config, OneChild(), progress)
    assert progress.notes == []
    assert built.books.counts() == EXPECTED
    assert (built.funnel.found, built.funnel.clips, built.funnel.kept) == (10, 7, 6)
    store = Store(config.dataset)
    status = read_status(store)
    assert status.balanced
    assert status.clips == {"dropped:static": 1, "kept": 6}
    assert verify(store, built.version).faults == ()
    keys = set()
    for shard in built.version.shards:
        path = store.path(shard.name)
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                assert file is not None
                if member.name.endswith(".mp4"):
                    assert decode_clip(file.read()).shape == (160, 135, 160)
        keys |= {sample["__key__"] for sample in webdataset.WebDataset(str(path), shardshuffle=False)}
    assert len(keys) == 6
    copied = [
        video
        for video in map(built.books.video, built.books.rows["video_id"].to_pylist())
        if len(video.found_at) == 2
    ]
    assert [Path(place).name for place in copied[0].found_at] == ["copy of moving0.mp4", "moving0.mp4"]


def test_two_builds_are_the_same_bytes_and_a_third_adds_nothing(
    videos: Path, write_config: WriteConfig, tmp_path: Path
) -> None:
    path = write_config([{"kind": "files", "path": str(videos)}], curate=RULES)
    trees = []
    for place in ("one", "two"):
        config = load_config(path, [f"dataset={tmp_path / place}"])
        build(config, OneChild(), Quiet())
        trees.append(tree(tmp_path / place))
    assert trees[0] == trees[1]
    assert any(name.startswith("shards/") for name in trees[0])
    build(config, OneChild(), Quiet())
    assert tree(tmp_path / "two") == trees[1]


def tree(root: Path) -> dict[str, bytes]:
    """Every object but the config, which names the place, and the log, which tells of the time."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != "config.json" and path.parent.name != "attempts"
    }


def test_a_title_with_a_negating_word_is_rejected_by_that_name_and_rules_can_change_later(
    videos: Path, write_config: WriteConfig
) -> None:
    titles = {"keywords": ["moving0", "moving2", "platformer"], "actions": [], "negations": ["unboxing"]}
    path = write_config([{"kind": "files", "path": str(videos / "moving*")}], titles=titles)
    config = load_config(path)
    built = build(config, OneChild(), Quiet())
    states = {row["title"]: (row["state"], row["detail"]) for row in built.books.rows.to_pylist()}
    assert states["Unboxing platformer gameplay [31m"] == (
        "rejected:title_negation",
        "'unboxing' in the title",
    )
    assert built.funnel.title_accepted == 2
    looser = load_config(path, ["titles.negations=[]"])
    assert books_of(looser).counts() == {"ingested": 2, "pending": 1}
    assert build(looser, OneChild(), Quiet()).books.counts() == {"ingested": 3}


def test_who_opts_out_later_is_in_no_later_version(videos: Path, write_config: WriteConfig) -> None:
    path = write_config([{"kind": "files", "path": str(videos / "moving[02].mp4")}])
    first = build(load_config(path), OneChild(), Quiet())
    gone = next(row for row in first.books.rows.to_pylist() if row["url"].endswith("moving0.mp4"))
    later = load_config(path, ["opt_out=['*/moving0.mp4']"])
    second = build(later, OneChild(), Quiet())
    assert (first.version.number, second.version.number) == (1, 2)
    assert second.books.counts() == {"ingested": 1, "rejected:opt_out": 1}
    assert second.books.state(gone["video_id"]).detail == "*/moving0.mp4"
    store = Store(later.dataset)
    held = {
        version.number: {
            placed.clip.video_id for shard in version.shards for placed in read_index(store, shard.name)
        }
        for version in (first.version, second.version)
    }
    assert held[1] - held[2] == {gone["video_id"]}
    assert len(held[2]) == 1
    assert read_status(store).balanced


def test_rules_change_without_measuring_and_a_new_scorer_measures_from_packs(
    videos: Path, write_config: WriteConfig, tmp_path: Path
) -> None:
    copied = tmp_path / "videos"
    copied.mkdir()
    shutil.copy(videos / "moving0.mp4", copied)
    path = write_config([{"kind": "files", "path": str(copied)}], scorers=["motion"])
    first = build(load_config(path), OneChild(), Quiet())
    (copied / "moving0.mp4").unlink()  # whatever comes now comes from the pack
    (copied / "other.mp4").write_text("so that the folder is not empty")
    changed = load_config(path, ["scorers=[motion, cuts]", "curate.rules={whole: cuts < 1 AND motion > 0}"])
    second = build(changed, OneChild(), Quiet())
    assert (first.version.number, second.version.number, second.version.parent) == (1, 2, 1)
    assert second.version.shards == first.version.shards
    whole = tmp_path / "whole"
    shutil.copy(videos / "moving0.mp4", copied)
    build(load_config(path, [f"dataset={whole}", "scorers=[motion, cuts]"]), OneChild(), Quiet())
    scores = {p.relative_to(whole): p.read_bytes() for p in whole.glob("scores/*/*")}
    assert scores
    for name, data in scores.items():
        assert (tmp_path / "dataset" / name).read_bytes() == data


def test_stages_can_be_run_one_by_one(videos: Path, write_config: WriteConfig) -> None:
    config = load_config(write_config([{"kind": "files", "path": str(videos / "moving2.mp4")}]))
    store = Store(config.dataset)
    discover(config, Quiet())
    assert read_status(store).videos == {"pending": 1}
    ingest(config, OneChild(), Quiet())
    assert read_status(store).clips == {"undecided": 2}
    curate(config)
    assert read_status(store).clips == {"kept": 2}
    assert list_versions(store) == []


def test_a_cut_with_other_settings_is_another_cut(make_video: Any, write_config: WriteConfig) -> None:
    square = make_video("square.mp4", "testsrc2=size=48x48:rate=15:duration=17")
    path = write_config([{"kind": "files", "path": str(square)}])
    first = build(load_config(path), OneChild(), Quiet())
    second = build(load_config(path, ["frame.fit=stretch"]), OneChild(), Quiet())
    assert second.version.number == 2
    assert second.version.shards != first.version.shards
    assert (
        verify(
            Store(str(load_config(path).dataset)), read_version(Store(load_config(path).dataset), 1)
        ).faults
        == ()
    )


def genieset(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "genieset", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)


def test_the_command_builds_and_tells(videos: Path, write_config: WriteConfig, tmp_path: Path) -> None:
    path = write_config([{"kind": "files", "path": str(videos)}], curate=RULES)
    dataset = str(tmp_path / "dataset")
    built = genieset("build", str(path))
    assert built.returncode == 0, built.stderr
    assert built.stdout.splitlines()[-1] == f"version 1 of {dataset}: 6 clips in 2 shards"
    told = json.loads(genieset("status", dataset, "--json").stdout)
    assert told["videos"] == EXPECTED
    assert told["clips"] == {"dropped:static": 1, "kept": 6}
    assert told["shards"] == 2
    assert told["balanced"] is True
    assert told["bytes"] == sum(p.stat().st_size for p in Path(dataset).glob("shards/*.tar"))
    assert genieset("verify", dataset).stdout.endswith("6 clips, 6 decoded, 4 packs, no fault\n")
    key = webdataset_keys(Path(dataset))[0]
    sheet = tmp_path / "sheet.png"
    shown = genieset("show", dataset, key, "--sheet", str(sheet))
    assert f"{key}: kept" in shown.stdout
    assert sheet.read_bytes().startswith(b"\x89PNG")
    missing = genieset("show", dataset, f"{key}x")
    assert missing.returncode == 2
    assert missing.stderr == f"error: dataset {dataset}: no clip '{key}x'; did you mean {key}?\n"


def webdataset_keys(dataset: Path) -> list[str]:
    keys = []
    for path in dataset.glob("shards/*.tar"):
        with tarfile.open(path) as tar:
            keys += [name.removesuffix(".mp4") for name in tar.getnames() if name.endswith(".mp4")]
    return keys


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build", "none.yaml"], "error: none.yaml: no such file; give the path of a YAML file"),
        (
            ["build", "ok.yaml", "--set", "scorer=[a]"],
            "error: --set scorer=[a]: scorer: no such key; did you mean scorers?",
        ),
        (
            ["build", "ok.yaml"],
            "error: ok.yaml: sources.0.path: 'nowhere': no such file or folder, seen from ",
        ),
        (
            ["build", "ok.yaml", "--set", "curate.seed=x"],
            "error: --set curate.seed=x: curate.seed: is 'x'; should be ",
        ),
        (["status", "nowhere"], "error: dataset nowhere: there is none; `genieset build CONFIG` makes one"),
        (
            ["verify", "nowhere"],
            "error: dataset nowhere: nothing is published there; run `genieset build` first",
        ),
        (["verify", "az://bucket"], "error: dataset az://...: datasets lie in local folders, in s3://"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "ok.yaml").write_text("dataset: d\nsources: [{kind: files, path: nowhere}]\n")
    done = genieset(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_nothing_to_keep_is_said_with_the_reasons(videos: Path, write_config: WriteConfig) -> None:
    path = write_config(
        [{"kind": "files", "path": str(videos / "still.mp4")}], curate={"rules": {"static": "motion > 0.1"}}
    )
    done = genieset("build", str(path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("no clip was kept (dropped:static 1); loosen curate.rules")


def test_a_source_that_cannot_be_read_is_not_passed_over(videos: Path, write_config: WriteConfig) -> None:
    web = {"kind": "web", "feeds": ["http://127.0.0.1:9/feed.rss"], "allow_private": True}
    done = genieset("build", str(write_config([{"kind": "files", "path": str(videos / "moving2.mp4")}, web])))
    assert done.returncode == 1
    assert "note: http://127.0.0.1:9/feed.rss: " in done.stderr
    assert "1 clips" not in done.stderr
    assert "2 clips in 1 shards" in done.stdout


def test_the_books_balance_also_after_the_config_changed(videos: Path, write_config: WriteConfig) -> None:
    path = write_config([{"kind": "files", "path": str(videos / "moving[02].mp4")}])
    config = load_config(path)
    build(config, OneChild(), Quiet())
    store = Store(config.dataset)
    assert read_status(store).clips == {"kept": 4}
    discover(load_config(path, ["titles={keywords: [moving2]}"]), Quiet())
    narrower = read_status(store)
    assert (narrower.videos, narrower.clips) == ({"ingested": 1, "rejected:title_keyword": 1}, {"kept": 2})
    discover(load_config(path, ["frame.fit=crop"]), Quiet())
    other = read_status(store)
    assert (other.videos, other.clips, other.balanced) == ({"pending": 2}, {}, True)
    assert show(store, webdataset_keys(Path(config.dataset))[0]).sheet


def test_a_lost_list_of_candidates_is_no_balance(videos: Path, write_config: WriteConfig) -> None:
    config = load_config(write_config([{"kind": "files", "path": str(videos / "moving[02].mp4")}]))
    build(config, OneChild(), Quiet())
    store = Store(config.dataset)
    # A source that the config has no longer is still known.
    other = load_config(write_config([{"kind": "files", "path": str(videos / "moving0.mp4")}]))
    discover(other, Quiet())
    assert (read_status(store).unlisted, read_status(store).balanced) == (0, True)
    for name in store.list("candidates"):
        store.remove(name)
    lost = read_status(store)
    assert (lost.unlisted, lost.balanced) == (2, False)
    told = genieset("status", store.url)
    assert told.returncode == 1
    assert "no list of candidates names 2 videos" in told.stdout


def test_what_the_user_must_mend_stops_the_run_in_one_line(
    videos: Path, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    done = genieset(
        "build", str(write_config([{"kind": "files", "path": str(videos)}], frame={"ffmpeg": "system"}))
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: frame.ffmpeg: no ffmpeg on the PATH; install one or set it to 'bundled'"
    )


def test_a_dataset_that_is_a_file_is_one_line(
    videos: Path, write_config: WriteConfig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    path = write_config([{"kind": "files", "path": str(videos)}])
    for place, said in (
        ("file", "is a file; give a folder"),
        ("file/below", "cannot be written to (Not a directory)"),
    ):
        done = genieset("build", str(path), "--set", f"dataset={tmp_path / place}")
        assert (done.returncode, done.stderr) == (2, f"error: dataset {tmp_path / place}: {said}\n")


@pytest.mark.parametrize("rule", ["motoin > 0.1", "faces < 1", "motion >"])
def test_a_rule_with_a_slip_is_told_before_anything_is_done(rule: str, write_config: WriteConfig) -> None:
    path = write_config([{"kind": "files", "path": "nowhere"}], curate={"rules": {"slip": rule}})
    done = genieset("build", str(path))
    assert done.returncode == 2
    assert "curate.rules.slip" in done.stderr.splitlines()[-1]
    assert not Path(load_config(path).dataset).exists()


def test_a_scorer_that_needs_another_cut_leaves_the_catalog_alone(
    videos: Path, write_config: WriteConfig
) -> None:
    path = write_config([{"kind": "files", "path": str(videos / "still.mp4")}], scorers=["motion"])
    assert genieset("build", str(path)).returncode == 0
    store = Store(load_config(path).dataset)
    before = store.read(CURATED[CLIPS]), store.read("config.json")
    done = genieset("curate", str(path), "--set", "scorers=[motion, text_area]")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no video was cut with these settings; `genieset ingest`" in done.stderr
    assert (store.read(CURATED[CLIPS]), store.read("config.json")) == before
