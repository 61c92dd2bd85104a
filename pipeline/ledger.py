"""The books: every discovered video is in exactly one state, and every attempt is written down.

States are computed, never stored as fate: the title rules speak first, then the commit, then the
last attempt. An attempt is recorded before its work begins, so one that never came back is known.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from filters.titles import TitleRules
from pipeline.outcomes import PENDING
from shards.commits import Commit, read_commits
from shards.records import VIDEO_SCHEMA, Video
from shards.store import Store


class State(NamedTuple):
    """Where a video stands, and one line for a person."""

    state: str
    detail: str | None


@dataclass(frozen=True)
class Books:
    """All discovered videos with their states.

    Attributes:
        videos: by video id, sorted; with what the download taught, where there was one.
        states: one for each video.
        commits: of the videos that have one.
    """

    videos: Mapping[str, Video]
    states: Mapping[str, State]
    commits: Mapping[str, Commit]

    def counts(self) -> dict[str, int]:
        """State -> number of videos."""
        return dict(sorted(Counter(state.state for state in self.states.values()).items()))

    def in_state(self, state: str) -> list[str]:
        """The ids of the videos in a state, sorted."""
        return [video_id for video_id, found in self.states.items() if found.state == state]

    def table(self) -> pa.Table:
        """The catalog of videos."""
        rows = [video.as_row() | self.states[video_id]._asdict() for video_id, video in self.videos.items()]
        return pa.Table.from_pylist(rows, schema=VIDEO_SCHEMA)


def read_books(store: Store, candidates: Iterable[Video], titles: TitleRules | None, settings: str) -> Books:
    """Read the state of every candidate from the dataset."""
    found = {video.video_id: video for video in candidates}
    found = dict(sorted(found.items()))
    commits = read_commits(store, found, settings)
    attempts = set(store.list(_FOLDER))
    states = {}
    for video_id, video in found.items():
        verdict = titles.verdict(video.title, video.description) if titles else None
        if verdict and verdict.rule:
            matched = f"{verdict.matched!r} in the title" if verdict.matched else "no word of the list"
            states[video_id] = State(f"rejected:{verdict.rule}", matched)
        elif video_id in commits:
            states[video_id] = State(commits[video_id].state, commits[video_id].detail or None)
        else:
            states[video_id] = _last_attempt(store, video_id, settings, attempts)
    accepted = {v: c for v, c in commits.items() if states[v].state == c.state}
    # The listing is what the title rules judge; the rest is known better after the download.
    videos = {v: accepted[v].video if v in accepted else video for v, video in found.items()}
    return Books(videos, states, accepted)


_FOLDER = "attempts"


def begin_attempt(store: Store, video_id: str, settings: str) -> int:
    """Record that work on a video begins; returns the attempt's number, counted from 1."""
    number = 1
    while not store.create(_attempt_name(video_id, settings, number), _line({"attempt": number})):
        number += 1
    return number


def end_attempt(
    store: Store, video_id: str, settings: str, number: int, state: State, log: str | None = None
) -> None:
    """Record how an attempt failed; one that came to an end has a commit instead.

    Args:
        log: what the worker said last, or the trace of a bug.
    """
    end = _end_name(_attempt_name(video_id, settings, number))
    store.create(end, _line({**state._asdict(), "log": log}))


def _last_attempt(store: Store, video_id: str, settings: str, names: set[str]) -> State:
    number = 0
    while _attempt_name(video_id, settings, number + 1) in names:
        number += 1
    end = _end_name(_attempt_name(video_id, settings, number))
    if end not in names:
        return State(PENDING, None)
    body = json.loads(store.read(end))
    return State(body["state"], body["detail"])


def _attempt_name(video_id: str, settings: str, number: int) -> str:
    return f"{_FOLDER}/{video_id}-{settings}-{number:04d}.json"


def _end_name(attempt: str) -> str:
    return attempt.removesuffix(".json") + ".end.json"


def _line(body: dict[str, str | int | None]) -> bytes:
    return json.dumps(body, sort_keys=True).encode() + b"\n"
