"""Commits: one for each finished unit, saying how it ended and which pack holds its clips.

A commit holds only what is final. It is named by the unit and by the hash of the settings that
shaped its clips, and created only if absent: whoever finishes first wins, and a second worker that
did the same work changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from shards.errors import UserError
from shards.records import Video
from shards.store import Store


@dataclass(frozen=True)
class Commit:
    """How a unit ended.

    Attributes:
        video: what is known of the video now; the download learns more than the discovery did.
        settings: hash of what shaped the clips.
        state: `ingested`, `rejected:<rule>` or `failed:<class>`.
        detail: one line for a person.
        pack: object name of the tar that holds the clips; None if there are none.
        clips: number of clips in the pack.
    """

    video: Video
    settings: str
    state: str
    detail: str
    pack: str | None
    clips: int


def commit_name(video_id: str, settings: str) -> str:
    """The object that holds a unit's commit."""
    return f"commits/{video_id}-{settings}.json"


def pack_name(video_id: str, settings: str) -> str:
    """The object that holds a unit's clips."""
    return f"packs/{video_id}-{settings}.tar"


def create_commit(store: Store, commit: Commit) -> bool:
    """Record how a unit ended; False if that was recorded before."""
    body = json.dumps(asdict(commit) | {"video": commit.video.as_row()}, sort_keys=True, indent=1)
    return store.create(commit_name(commit.video.video_id, commit.settings), body.encode() + b"\n")


def read_commits(store: Store, video_ids: Iterable[str], settings: str) -> dict[str, Commit]:
    """The commits of these videos under these settings; videos without one are left out."""
    names = set(store.list("commits"))
    commits = {}
    for video_id in video_ids:
        name = commit_name(video_id, settings)
        if name in names:
            try:
                body = json.loads(store.read(name))
                commits[video_id] = Commit(**body | {"video": Video.from_row(body["video"])})
            except (ValueError, TypeError, KeyError) as error:
                raise UserError(
                    f"{store.path(name)}: is damaged ({error}); delete it, and the video is done anew"
                ) from error
    return commits
