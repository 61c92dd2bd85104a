from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.outcomes import Failed, Rejected
from pipeline.scratch import clear_scratch, scratch_folder
from shards.errors import UserError


@pytest.fixture(autouse=True)
def _in_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def leave(outcome: Exception | None, video_id: str = "video") -> Path:
    """Write something into the scratch folder and end in some way."""
    with scratch_folder("dataset", video_id) as folder:
        (folder / "source.part").write_bytes(b"bytes")
        if outcome:
            raise outcome
    return folder


def test_it_is_gone_when_the_work_is_done() -> None:
    assert not leave(None).exists()


@pytest.mark.parametrize(
    "outcome", [Rejected("too_short", ""), Failed("unreadable", ""), ValueError("a bug")]
)
def test_it_is_gone_when_another_try_would_end_the_same(outcome: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(outcome)):
        leave(outcome)
    assert not list(tmp_path.rglob("source.part"))


def test_bytes_are_kept_for_another_try() -> None:
    with pytest.raises(Failed):
        leave(Failed("timeout", ""))
    with scratch_folder("dataset", "video") as folder:
        assert (folder / "source.part").read_bytes() == b"bytes"


def test_nothing_is_left_when_nothing_is_kept(tmp_path: Path) -> None:
    with scratch_folder("dataset", "video"), scratch_folder("dataset", "other"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_of_a_video_can_be_cleared_and_of_nobody_knows_which() -> None:
    for name in ("site-video", "site-other"):
        with pytest.raises(Failed):
            leave(Failed("timeout", ""), name)
    with scratch_folder("dataset", "site-third") as held, scratch_folder("dataset", "site-third") as second:
        (second / "source.part").write_bytes(b"bytes")
        clear_scratch("dataset", ["site-video", "site-third"])
        assert sorted(path.name for path in held.parent.iterdir()) == ["site-other", "site-third"]
        second.mkdir()
    clear_scratch("dataset", ["site-other"])
    assert not held.parent.exists()
    clear_scratch("dataset", ["site-other"])


def test_what_nobody_comes_back_for_goes_after_a_week() -> None:
    with pytest.raises(Failed):
        leave(Failed("timeout", ""))
    with scratch_folder("dataset", "other") as folder:
        old = folder.parent / "video"
        os.utime(old, (0, 0))
        with scratch_folder("dataset", "third"):
            assert not old.exists()
        assert folder.exists()


def test_two_at_once_have_a_folder_each_and_two_datasets_too() -> None:
    with scratch_folder("dataset", "video") as mine, scratch_folder("dataset", "video") as theirs:
        assert mine != theirs
        with scratch_folder("another", "video") as other:
            assert other not in (mine, theirs)
    assert not mine.exists()
    assert not theirs.exists()
    with scratch_folder("dataset", "video") as again:
        assert again == mine


def test_a_link_laid_in_its_place_is_refused(tmp_path: Path) -> None:
    with scratch_folder("dataset", "video") as folder:
        base = folder.parent
    (tmp_path / "elsewhere").mkdir()
    base.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="not a folder of this user"), scratch_folder("dataset", "video"):
        pass
