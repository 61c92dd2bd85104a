"""Where the ids of some videos stand: in names, bytes, text and the columns of tables.

A key holds its video's id, and so does the name of a pack; in a free page of a database an id has letters
of something else around it. So an id stands wherever its characters do, unless they are a part of another
id that is known: `site-1` does not stand in `site-12`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shards.errors import UserError
from shards.keys import MAX_VIDEO_ID_CHARS
from shards.store import Store

_CHUNK_BYTES = 8 * 1024 * 1024
_REACH_BYTES = 2 * MAX_VIDEO_ID_CHARS

# An automaton of more would not be built by RE2, which Arrow searches with.
_IDS_A_PATTERN = 400


class Leaves(NamedTuple):
    """The texts of one column, at whatever depth they stand in it.

    Attributes:
        path: the column and the fields in it, with dots between.
        rows: int64, for each text the row in which it stands.
        texts: the texts.
    """

    path: str
    rows: np.ndarray[tuple[int], np.dtype[np.int64]]
    texts: pa.Array


class Mentions:
    """Finds the ids of some videos.

    Args:
        video_ids: of which there is at least one.
        known: ids of other videos.

    Raises:
        ValueError: there are no ids.
    """

    def __init__(self, video_ids: Iterable[str], known: Iterable[str] = ()) -> None:
        self.video_ids = frozenset(video_ids)
        if not self.video_ids:
            raise ValueError("no video is named")
        longest_first = sorted(self.video_ids, key=lambda video_id: (-len(video_id), video_id))
        self._bytes = re.compile("|".join(_by_site(longest_first)).encode())
        # RE2 does not know the escape of `-`, and an id holds nothing else that has a meaning.
        self._patterns = [
            "|".join(longest_first[start : start + _IDS_A_PATTERN])
            for start in range(0, len(longest_first), _IDS_A_PATTERN)
        ]
        self._longer: dict[bytes, list[tuple[int, bytes]]] = {}
        for other in known:
            text = other.encode()
            if other not in self.video_ids and self._bytes.search(text):
                for video_id in longest_first:
                    if (place := text.find(video_id.encode())) >= 0:
                        self._longer.setdefault(video_id.encode(), []).append((place, text))

    def places(self, data: bytes) -> Iterator[tuple[int, int]]:
        """The first byte and the one behind the last of each id in some bytes."""
        at = 0
        while found := self._bytes.search(data, at):
            if self._is_part(data, found):
                at = found.start() + 1
            else:
                yield found.span()
                at = found.end()

    def in_text(self, text: str) -> bool:
        """Whether one of the ids stands in a text."""
        return next(self.places(text.encode(errors="replace")), None) is not None

    def in_file(self, file: BinaryIO) -> Iterator[tuple[int, int]]:
        """As `places`, of a file of any size; some megabytes of it are in memory at a time."""
        base, data, begin = 0, b"", 0
        while True:
            chunk = file.read(_CHUNK_BYTES)
            data += chunk
            # What begins later is looked at again when all that could follow it is there.
            end = len(data) - _REACH_BYTES if chunk else len(data)
            for start, stop in self.places(data):
                if begin <= start < end:
                    yield base + start, base + stop
            if not chunk:
                return
            keep = max(0, end - _REACH_BYTES)
            base, data, begin = base + keep, data[keep:], max(begin, end) - keep

    def in_object(self, store: Store, name: str) -> bool:
        """Whether one of the ids stands in the bytes of an object, or in a text of a Parquet object."""
        with store.open(name) as file:
            if next(self.in_file(file), None) is not None:
                return True
        if not name.endswith(".parquet"):
            return False
        return any(len(rows) for part in read_texts(store, name) for _, rows in self.in_table(part))

    def in_table(self, table: pa.Table) -> Iterator[tuple[str, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
        """Each column's path and the rows in which one of the ids stands, where there are such rows."""
        for leaves in texts_of(table):
            found = np.flatnonzero(self._mask(leaves.texts))
            sure = [place for place in found.tolist() if self.in_text(leaves.texts[place].as_py())]
            if sure:
                yield leaves.path, np.unique(leaves.rows[sure])

    def _mask(self, texts: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        mask = np.zeros(len(texts), bool)
        for pattern in self._patterns:
            found = pc.fill_null(pc.match_substring_regex(texts, pattern), False)
            mask |= found.to_numpy(zero_copy_only=False)
        return mask

    def _is_part(self, data: bytes, found: re.Match[bytes]) -> bool:
        for place, text in self._longer.get(found[0], ()):
            start = found.start() - place
            if start >= 0 and data[start : start + len(text)] == text:
                return True
        return False


def _by_site(video_ids: Iterable[str]) -> Iterator[str]:
    """A pattern for each site: what begins alike is found much faster."""
    of_sites: dict[str, list[str]] = {}
    for video_id in video_ids:
        of_sites.setdefault(video_id.partition("-")[0], []).append(re.escape(video_id))
    yield from (f"(?:{'|'.join(some)})" for some in of_sites.values())


def texts_of(table: pa.Table) -> Iterator[Leaves]:
    """All texts of a table."""
    rows = np.arange(len(table), dtype=np.int64)
    for name, column in zip(table.column_names, table.columns, strict=True):
        combined = column.combine_chunks()
        for chunk in combined.chunks if isinstance(combined, pa.ChunkedArray) else [combined]:
            yield from _leaves(name, rows, chunk)


def read_texts(store: Store, name: str) -> Iterator[pa.Table]:
    """The columns of a Parquet object that hold texts, a group of rows at a time.

    Raises:
        UserError: it is damaged.
    """
    try:
        with store.arrow(name) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            columns = [field.name for field in parquet.schema_arrow if _holds_texts(field.type)]
            for group in range(parquet.num_row_groups):
                yield parquet.read_row_group(group, columns, use_threads=False)
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{store.where(name)}: is damaged ({str(error).splitlines()[0]}); bring it back"
        ) from error


def known_ids(store: Store) -> frozenset[str]:
    """The ids of all videos that were found or are in a catalog."""
    names = [*store.list("candidates"), *store.list("catalog/videos")]
    tables = [store.read_table(name, ["video_id"]) for name in names if name.endswith(".parquet")]
    return frozenset(video_id for table in tables for video_id in table["video_id"].to_pylist())


def _leaves(path: str, rows: np.ndarray[tuple[int], np.dtype[np.int64]], array: pa.Array) -> Iterator[Leaves]:
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(path, rows, array.dictionary_decode())
    elif _is_text(kind):
        yield Leaves(path, rows, array)
    elif pa.types.is_struct(kind):
        for number, field in enumerate(kind):
            yield from _leaves(f"{path}.{field.name}", rows, array.field(number))
    elif _is_list(kind):
        parents = pc.list_parent_indices(array).to_numpy()
        yield from _leaves(path, rows[parents], array.flatten())


def _holds_texts(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind) or _is_list(kind):
        return _holds_texts(kind.value_type)
    return _is_text(kind) or (pa.types.is_struct(kind) and any(_holds_texts(field.type) for field in kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
