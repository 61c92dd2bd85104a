"""Commits: one for each finished unit, saying how it ended and which pack holds its clips.

A commit holds only what is final. It is named by the unit and by the hash of the settings that
shaped its clips, and created only if absent: whoever finishes first wins, and a second worker that
did the same work changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from shards.journal import Journal
from shards.names import HASH_CHARS
from shards.records import CANDIDATE_SCHEMA, Video
from shards.store import Store

COMMIT_SCHEMA = pa.schema(
    [
        pa.field("settings", pa.string(), nullable=False),
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
        pa.field("pack", pa.string()),
        pa.field("clips", pa.int64(), nullable=False),
        pa.field("dropped_frames", pa.int64(), nullable=False),
        pa.field("video", pa.struct(list(CANDIDATE_SCHEMA)), nullable=False),
    ]
)
"""A row for each finished unit."""


@dataclass(frozen=True)
class Commit:
    """How a unit ended.

    Attributes:
        video: what is known of the video now; the download learns more than the discovery did.
        settings: hash of what shaped the clips.
        state: `ingested`, `rejected:<rule>` or `failed:<class>`.
        detail: one line for a person, if there is something to say.
        pack: object name of the tar that holds the clips; None if there are none.
        clips: number of clips in the pack.
        dropped_frames: frames of 10 a second that are in no clip: a tail, what lies between two gaps.
    """

    video: Video
    settings: str
    state: str
    detail: str | None
    pack: str | None
    clips: int
    dropped_frames: int = 0


def pack_name(video_id: str, settings: str, content: str) -> str:
    """The object that holds a unit's clips.

    Args:
        content: hash of its bytes: a site may serve a video otherwise when it is fetched again, and what
            one worker has committed no other shall write over.
    """
    return f"packs/{video_id}-{settings}-{content[:HASH_CHARS]}.tar"


def create_commit(store: Store, commit: Commit) -> bool:
    """Record how a unit ended; False if that was recorded before."""
    row = vars(commit) | {"video": commit.video.as_row(), "video_id": commit.video.video_id}
    return commit_journal(store).create(commit_name(commit.video.video_id, commit.settings), [row])


def commit_name(video_id: str, settings: str) -> str:
    """What a unit's commit is called in the journal."""
    return f"{video_id}-{settings}"


def commit_journal(store: Store) -> Journal:
    """All commits of a dataset; a unit that is there twice ended as its first row says."""
    return Journal(store, "commits", COMMIT_SCHEMA)


def read_commits(store: Store, settings: str) -> pa.Table:
    """The commits under these settings, as a table of `COMMIT_SCHEMA`.

    Raises:
        UserError: a commit is damaged.
    """
    commits = commit_journal(store).read()
    return commits.filter(pa.compute.equal(commits["settings"], settings))
