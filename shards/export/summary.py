"""A version in numbers, for whoever decides whether to use it: by split, source, channel and licence."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from shards.catalog import CLIPS, VIDEOS
from shards.export.view import View
from shards.query import open_views

UNKNOWN = "unknown"
"""The licence or channel of a video whose site did not say."""

_LOCAL = "local files"

# Published clips, each with what its video says. Of a page's address only the host is told: the path of
# a local file is its owner's affair.
_PUBLISHED = f"""
CREATE TEMP VIEW published AS
SELECT c.video_id, c.split, c.n_frames / c.fps / 3600 AS hours, c.unique_frames < c.n_frames AS repeats,
    coalesce(nullif(trim(v.licence), ''), '{UNKNOWN}') AS licence,
    coalesce(nullif(trim(v.channel), ''), '{UNKNOWN}') AS channel,
    CASE WHEN regexp_matches(v.url, '^https?://')
        THEN lower(regexp_extract(v.url, '^https?://([^/?#@]*@)?([^/:?#@]+)', 2))
        ELSE '{_LOCAL}' END AS origin
FROM {CLIPS} c JOIN {VIDEOS} v USING (video_id) WHERE c.shard IS NOT NULL
"""  # noqa: S608


@dataclass(frozen=True)
class Group:
    """Published clips that have something in common."""

    name: str
    clips: int
    videos: int
    hours: float


@dataclass(frozen=True)
class Summary:
    """The numbers of a version.

    Attributes:
        total: all published clips.
        splits, origins, channels, licences: the same by group, the largest first.
        repeats: published clips in which a frame is there more than once in a row.
        decisions: of all measured clips, `kept` or `dropped:<rule>` -> number.
        states: of all discovered videos, state -> number.
    """

    total: Group
    splits: tuple[Group, ...]
    origins: tuple[Group, ...]
    channels: tuple[Group, ...]
    licences: tuple[Group, ...]
    repeats: int
    decisions: dict[str, int]
    states: dict[str, int]


def summarise(view: View) -> Summary:
    """Count what a version holds."""
    with open_views(view.tables) as database:
        database.execute(_PUBLISHED)
        (total,) = _groups(database, "'all'")
        repeats = database.execute("SELECT count(*) FROM published WHERE repeats").fetchall()[0][0]
        return Summary(
            total=total,
            splits=_groups(database, "split"),
            origins=_groups(database, "origin"),
            channels=_groups(database, "channel"),
            licences=_groups(database, "licence"),
            repeats=repeats,
            decisions=_counts(database, CLIPS, "decision"),
            states=_counts(database, VIDEOS, "state"),
        )


def _groups(database: duckdb.DuckDBPyConnection, by: str) -> tuple[Group, ...]:
    # The columns are named in this file alone.
    found = database.execute(
        f"SELECT {by}, count(*), count(DISTINCT video_id), coalesce(sum(hours), 0) "  # noqa: S608
        "FROM published GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    return tuple(Group(*row) for row in found)


def _counts(database: duckdb.DuckDBPyConnection, view: str, column: str) -> dict[str, int]:
    found = database.execute(f"SELECT {column}, count(*) FROM {view} GROUP BY 1 ORDER BY 1")  # noqa: S608
    return {name: count for name, count in found.fetchall()}  # noqa: C416
