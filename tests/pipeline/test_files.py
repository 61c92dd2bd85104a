"""Files as a source: what may lie in a folder, and what may happen to it between two stages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.outcomes import Failed
from pipeline.sources.files import FilesSource
from shards.records import Video


def found(folder: Path) -> tuple[list[Video], list[str]]:
    problems: list[str] = []
    return [found.video for found in FilesSource(path=str(folder)).discover(problems.append)], problems


def test_a_file_that_was_overwritten_is_not_the_video_that_was_found(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"first")
    (video,), _ = found(tmp_path)
    path.write_bytes(b"second")
    with pytest.raises(Failed, match="has changed since it was found") as failed:
        FilesSource(path=str(tmp_path)).fetch(video, tmp_path)
    assert failed.value.failure == "unavailable"


def test_another_copy_stands_in_for_one_that_changed(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"first")
    (first, second), _ = found(tmp_path)
    assert first.video_id == second.video_id
    video = Video(first.video_id, "files", first.url, found_at=(first.url, second.url))
    Path(first.url).write_bytes(b"second")
    fetched = FilesSource(path=str(tmp_path)).fetch(video, tmp_path)
    assert str(fetched.path) == fetched.video.url == second.url


def test_a_name_that_is_no_text_is_told_and_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9\n.mp4")).write_bytes(b"one")
    (tmp_path / "a.mp4").write_bytes(b"two")
    videos, (problem,) = found(tmp_path)
    assert [video.title for video in videos] == ["a"]
    assert problem.isprintable()
    assert "not UTF-8" in problem


@pytest.mark.parametrize("sidecar", ["[" * 200_000, "{", "[]"])
def test_a_sidecar_that_is_no_json_object_costs_its_title_only(tmp_path: Path, sidecar: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"bytes")
    (tmp_path / "a.info.json").write_text(sidecar)
    (video,), (problem,) = found(tmp_path)
    assert video.title == "a"
    assert problem.isprintable()
