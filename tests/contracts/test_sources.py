"""Every kind of source keeps the promise; a new one is found by itself."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.site import VideoSite
from pipeline.outcomes import Failed
from pipeline.sources.base import Source, source_kinds
from shards.errors import SettingError
from shards.keys import clip_key
from shards.records import Video

EXAMPLES = Path(__file__).parents[2] / "examples" / "not_gameplay"


@pytest.fixture(params=sorted(source_kinds()))
def source(request: pytest.FixtureRequest) -> Iterator[Source]:
    """A source of each kind over the same two videos; a new kind is given its own here."""
    with VideoSite(EXAMPLES) as site:
        settings = {
            "files": {"path": str(EXAMPLES)},
            "web": {"feeds": [site.feed_url], "allow_private": True},
        }
        yield source_kinds()[request.param].model_validate(settings[request.param])


def found(source: Source) -> list[Video]:
    problems: list[str] = []
    videos = [found.video for found in source.discover(problems.append)]
    assert not problems
    return videos


def test_it_is_in_the_file_of_its_name_and_says_what_it_is(source: Source) -> None:
    assert type(source).__module__ == f"pipeline.sources.{source.kind}"
    assert type(source).__doc__


def test_it_finds_the_same_videos_again(source: Source) -> None:
    videos = found(source)
    assert len(videos) == 2
    assert videos == found(source)
    for video in videos:
        assert video.source == source.kind
        assert video.title
        assert video.description
        assert video.url in video.found_at
        clip_key(video.video_id, 0)


def test_it_fetches_the_very_bytes(source: Source, tmp_path: Path) -> None:
    originals = {path.read_bytes() for path in EXAMPLES.glob("*.mp4")}
    for number, video in enumerate(found(source)):
        folder = tmp_path / str(number)
        folder.mkdir()
        fetched = source.fetch(video, folder)
        assert fetched.path.read_bytes() in originals
        assert (fetched.video.video_id, fetched.video.title) == (video.video_id, video.title)


def test_it_goes_to_another_process_and_its_hash_stays(source: Source) -> None:
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    assert copy.hash == source.hash


def test_its_limits_are_settings_and_its_shaping_can_be_hashed(source: Source) -> None:
    assert source.limits <= type(source).model_fields.keys()
    assert json.loads(json.dumps(source.shaping)) == source.shaping


def test_what_is_gone_is_unavailable(source: Source, tmp_path: Path) -> None:
    gone = Video("x-1", source.kind, found(source)[0].url + "-gone")
    with pytest.raises(Failed) as failed:
        source.fetch(gone, tmp_path)
    assert failed.value.failure == "unavailable"


def test_a_folder_that_is_not_there_names_its_key(tmp_path: Path) -> None:
    nowhere = source_kinds()["files"].model_validate({"kind": "files", "path": str(tmp_path / "none")})
    with pytest.raises(SettingError, match=r"^path: .*no such file or folder"):
        found(nowhere)
