"""Which videos a dataset knows of, wherever it does: by id, by channel, or by address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

import pyarrow as pa
from pydantic import ValidationError

from pipeline.opt_out import OptOut
from shards.catalog import VIDEOS
from shards.commits import commit_journal
from shards.errors import UserError
from shards.store import Store
from shards.tombstones import forgotten_ids

_COLUMNS = ("video_id", "url", "channel", "found_at")


def find_videos(
    store: Store, video_ids: Sequence[str], channels: Sequence[str] = (), urls: Sequence[str] = ()
) -> tuple[str, ...]:
    """The ids of the videos that are meant, sorted; those already forgotten are known by their ids alone.

    Args:
        channels: names or ids, as after `channel:` in an opt-out list.
        urls: addresses, in which `*` stands for anything, as in an opt-out list.

    Raises:
        UserError: one of them means no video.
    """
    tables = list(_tables(store))
    known = {video_id for table in tables for video_id in table["video_id"].to_pylist()}
    known |= forgotten_ids(store)
    if not known:
        raise UserError(f"dataset {store.url}: there is none; `genieset build CONFIG` makes one")
    for video_id in video_ids:
        if video_id not in known:
            raise UserError(f"dataset {store.url}: there is no video {video_id!r}; {_near(video_id, known)}")
    found = set(video_ids)
    for channel in channels:
        found |= _matching(store, tables, f"channel: {channel}", f"--channel {channel}", "channel")
    for url in urls:
        if "*" not in url and "/" not in url:
            raise UserError(f"--url {url}: is no address; give one, with `*` for anything")
        if not url.strip("*/:"):
            raise UserError(f"--url {url}: would mean every video; give what only those that are meant have")
        found |= _matching(store, tables, url, f"--url {url}", "url")
    return tuple(sorted(found))


def _matching(store: Store, tables: Iterable[pa.Table], entry: str, told: str, column: str) -> set[str]:
    try:
        entries = OptOut((entry,))
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"{told}: {reason}") from None
    found: set[str] = set()
    values: set[str] = set()
    for table in tables:
        matched = entries.match_table(table).is_valid()
        found |= set(table["video_id"].filter(matched).to_pylist())
        values |= set(table[column].drop_null().to_pylist())
    if not found:
        near = get_close_matches(entry.removeprefix("channel: "), values, n=1)
        hint = f"did you mean {near[0]}?" if near else "`genieset query` tells what there is"
        raise UserError(f"{told}: no video of dataset {store.url} is of it; {hint}")
    return found


def _tables(store: Store) -> Iterator[pa.Table]:
    """All that is said of videos: found, learned by downloading, and written down with versions."""
    for name in [*store.list("candidates"), *store.list(f"catalog/{VIDEOS}")]:
        if name.endswith(".parquet"):
            table = store.read_table(name)
            yield table.select([c for c in (*_COLUMNS, "info") if c in table.column_names])
    learned = commit_journal(store).read(["video"])["video"].combine_chunks()
    for chunk in learned.chunks if isinstance(learned, pa.ChunkedArray) else [learned]:
        yield pa.Table.from_struct_array(chunk).select(_COLUMNS)


def _near(video_id: str, known: Iterable[str]) -> str:
    near = get_close_matches(video_id, known, n=1)
    return f"did you mean {near[0]}?" if near else '`genieset query DATASET "FROM videos"` tells them'
