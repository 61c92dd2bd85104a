"""One shard: its tar, its index, its clips, and what the version says of them. One task, by itself."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shards.checks.clip import check_clip
from shards.checks.faults import Fault, first_of, guarded, told
from shards.checks.layout import row_problem
from shards.checks.members import check_order, rows_of_tar
from shards.checks.table import check_table
from shards.checks.tar import TarSeen, check_tar
from shards.index import index_name, index_table
from shards.keys import clip_key, parse_key, split_of
from shards.manifest import ShardEntry
from shards.names import HASH_CHARS
from shards.records import INDEX_SCHEMA, Placed
from shards.store import Store, write_parquet

# So many rows take a gigabyte; the largest shard that makes sense has a hundredth of them.
_MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class Expected:
    """What a version says of one of its shards.

    Attributes:
        version: name of the version's object.
        number: which of its shards it is, from 0.
        splits: share of each split, by which a video's hash has its split; None if the recipe does not say.
        size_px: width and height of every clip; None if any will do.
        decode: so many of its clips are decoded, chosen by a hash of their keys; all if None.
    """

    entry: ShardEntry
    version: str
    number: int
    splits: dict[str, float] | None = None
    size_px: tuple[int, int] | None = None
    decode: int | None = None


@dataclass(frozen=True)
class ShardSeen:
    """What became of the check of one shard.

    Attributes:
        samples: rows of its index that could be read.
        decoded: clips that were decoded.
        sha256: of its tar, where that is not what the version says.
    """

    name: str
    samples: int = 0
    decoded: int = 0
    faults: tuple[Fault, ...] = ()
    sha256: str | None = None


def check_shard(store: Store, expected: Expected) -> ShardSeen:
    """Check one shard; its tar passes by in pieces, and of its clips one is in memory at a time."""
    check = _Check(store, expected)
    faults = tuple(check.faults())
    return ShardSeen(expected.entry.name, len(check.rows), check.decoded, faults, check.sha256)


@dataclass
class _Check:
    store: Store
    expected: Expected
    rows: list[Placed] = field(default_factory=list)
    decoded: int = 0
    sha256: str | None = None
    trusted: bool = False

    def faults(self) -> Iterator[Fault]:
        name = self.expected.entry.name
        index: list[Fault] = []
        try:
            # Names that lead out of the dataset are nobody's.
            self.store.where(name)
        except ValueError:
            yield self._field("name", f"is {name!r}, which is no name inside a dataset")
            return
        index += guarded(index_name(name), self._read_index())
        seen: TarSeen | None = None
        tar: list[Fault] = []
        try:
            with self.store.open(name) as file:
                problems = list(row_problem(self.rows))
                seen = check_tar(file, name, [] if problems else self.rows, self.expected.entry.sha256)
                if index and seen.sha256 == self.expected.entry.sha256:
                    # The tar is whole; so what the index should be is known, or the version errs.
                    index = list(guarded(index_name(name), self._blame(file, index)))
                tar += self._of_tar(file, seen, problems)
        except FileNotFoundError:
            tar.append(Fault(name, "is missing"))
            if _named(name) != self.expected.entry.sha256[:HASH_CHARS]:
                tar.append(self._field("name", f"is {name!r}, and its sha256 {self.expected.entry.sha256}"))
        except Exception as error:
            tar.append(Fault(name, f"cannot be read: {told(error)}"))
        yield from first_of(index_name(name), iter(index))
        yield from first_of(name, iter(tar))
        if seen and self.trusted:
            yield from first_of(name, self._of_clips(seen, sound=not tar))

    def _field(self, name: str, what: str) -> Fault:
        """What the version says and is not so."""
        return Fault(self.expected.version, what, f"shards[{self.expected.number}].{name}")

    def _read_index(self) -> Iterator[Fault]:
        entry = self.expected.entry
        name = index_name(entry.name)
        with self.store.open(name) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        faults = list(check_table(self.store, name, INDEX_SCHEMA))
        yield from faults
        same = digest == entry.index_sha256
        if not same and not faults:
            yield Fault(name, f"has sha256 {digest}, the version says {entry.index_sha256}")
        if faults:
            return
        table = self.store.read_table(name)
        if len(table) > _MOST_ROWS:
            yield Fault(name, f"has {len(table)} rows; no shard holds more than {_MOST_ROWS} clips")
            return
        self.rows = [Placed.from_row(row) for row in table.to_pylist()]
        self.trusted = same
        if same:
            yield from self._of_rows()

    def _of_rows(self) -> Iterator[Fault]:
        """The rows of an index that is the version's, in themselves and against the version."""
        entry = self.expected.entry
        name = index_name(entry.name)
        for number, what in row_problem(self.rows):
            yield Fault(name, what, f"row {number}")
        for number, row in enumerate(self.rows):
            clip = row.clip
            try:
                video_id, frame = parse_key(clip.key)
                sound = (clip.video_id, clip_key(video_id, frame)) == (video_id, clip.key)
            except ValueError:
                sound = False
            if not sound:
                yield Fault(name, f"key {clip.key!r} is none of video {clip.video_id!r}", f"row {number}")
            elif self.expected.splits and split_of(clip.video_id, self.expected.splits) != entry.split:
                split = split_of(clip.video_id, self.expected.splits)
                what = f"video {clip.video_id} is in split {entry.split}; by its hash it is in {split}"
                yield Fault(name, what, f"row {number}")
        lengths = dict(sorted(Counter(row.clip.n_frames for row in self.rows).items()))
        if len(self.rows) != entry.samples:
            yield self._field("samples", f"is {entry.samples}; {name} has {len(self.rows)} clips")
        if lengths != entry.clips_by_frames:
            yield self._field("clips_by_frames", f"is {entry.clips_by_frames}; {name} has {lengths}")

    def _of_tar(
        self, file: io.BufferedReader, seen: TarSeen, problems: Sequence[tuple[int, str]]
    ) -> Iterator[Fault]:
        entry = self.expected.entry
        if not entry.name.startswith(f"shards/{entry.split}-"):
            yield self._field("split", f"is {entry.split!r}; the shard is called {entry.name}")
        named = _named(entry.name)
        if seen.sha256 == entry.sha256:
            if named != seen.sha256[:HASH_CHARS]:
                yield self._field("name", f"is {entry.name!r}, and its bytes have sha256 {seen.sha256}")
            if seen.size_bytes != entry.bytes:
                yield self._field("bytes", f"is {entry.bytes}; {entry.name} has {seen.size_bytes}")
            if self.trusted:
                yield from seen.faults
                if seen.faults:
                    yield from check_order(file, entry.name, self.rows)
            return
        if named == seen.sha256[:HASH_CHARS]:
            yield self._field(
                "sha256", f"is {entry.sha256}; {entry.name} is as it is named and has {seen.sha256}"
            )
            return
        self.sha256 = seen.sha256
        if self.rows and not problems:
            yield from seen.faults
        if not (self.rows and seen.faults) or problems:
            what = f"has sha256 {seen.sha256}, the version says {entry.sha256}"
            yield Fault(entry.name, what, None, 0, max(seen.size_bytes, 1))
        if seen.size_bytes != entry.bytes:
            start, end = sorted((seen.size_bytes, entry.bytes))
            yield Fault(
                entry.name, f"has {seen.size_bytes} bytes, the version says {entry.bytes}", None, start, end
            )

    def _blame(self, file: io.BufferedReader, found: list[Fault]) -> Iterator[Fault]:
        """With a tar that is whole: whether the index or the version is wrong, and where."""
        entry = self.expected.entry
        name = index_name(entry.name)
        try:
            true, rebuilt = _rebuild(file, {})
            if hashlib.sha256(rebuilt).hexdigest() != entry.index_sha256:
                # A tar does not tell how its frames are grouped.
                true, rebuilt = _rebuild(file, {row.clip.key: row.gop_frames for row in self.rows})
        except (ValueError, TypeError, OverflowError):
            # Whole, and yet not one of ours, or with values that no index holds: it can blame nobody.
            yield from found
            return
        if not self.store.exists(name):
            yield from found
            return
        if self.trusted:
            yield from found
            if true != self.rows:
                yield from rows_differ(name, self.rows, true)
            return
        digest = hashlib.sha256(rebuilt).hexdigest()
        located = any(fault.start_byte is not None for fault in found)
        if self.rows == true and digest != entry.index_sha256 and not located:
            told = f"is {entry.index_sha256}; {name} tells what the tar holds: {digest}"
            yield self._field("index_sha256", told)
            self.trusted = True
            return
        yield from found
        if self.rows:
            yield from rows_differ(name, self.rows, true)
        if digest == entry.index_sha256:
            yield from _bytes_differ(self.store, name, rebuilt)

    def _of_clips(self, seen: TarSeen, *, sound: bool) -> Iterator[Fault]:
        """Decode clips, and see whether webdataset reads what there is."""
        entry = self.expected.entry
        whole = [row for row in self.rows if row.clip.key not in seen.damaged]
        whole = [row for row in whole if row.offset + row.size <= seen.size_bytes]
        if self.expected.decode is not None:
            whole = sorted(whole, key=lambda row: _by_hash(row.clip.key))[: self.expected.decode]
            whole.sort(key=lambda row: row.offset)
        sizes: dict[tuple[int, int], str] = {}
        for row in whole:
            self.decoded += 1
            yield from check_clip(self.store, entry.name, row, self.expected.size_px, sizes)
        if len(sizes) > 1:
            told = ", ".join(f"{width}x{height} ({key})" for (width, height), key in sizes.items())
            yield Fault(entry.name, f"holds clips of several sizes: {told}")
        if sound:
            read = _count_webdataset(self.store, entry.name)
            if read != len(self.rows):
                yield Fault(entry.name, f"webdataset reads {read} samples, the index has {len(self.rows)}")


def _named(name: str) -> str:
    """The part of a shard's name that is the beginning of its hash."""
    return name.removesuffix(".tar").rpartition("-")[2]


def _rebuild(file: io.BufferedReader, gop_frames: dict[str, int]) -> tuple[list[Placed], bytes]:
    rows, buffer = rows_of_tar(file, gop_frames), io.BytesIO()
    write_parquet(index_table(rows), buffer)
    return rows, buffer.getvalue()


def rows_differ(name: str, found: Sequence[Placed], true: Sequence[Placed]) -> Iterator[Fault]:
    """The rows of an index that are not those that its tar gives."""
    if len(found) != len(true):
        keys = {row.clip.key for row in found}
        lacking = [row.clip.key for row in true if row.clip.key not in keys][:3]
        yield Fault(
            name,
            f"has {len(found)} rows, the tar {len(true)} clips"
            + (f"; it lacks {lacking}" if lacking else ""),
        )
    for number, (a, b) in enumerate(zip(found, true, strict=False)):
        if a != b:
            one, other = a.as_row(), b.as_row()
            column = next((column for column in one if one[column] != other[column]), "?")
            what = f"is {_short(one[column])}, the tar says {_short(other[column])}"
            yield Fault(name, what, f"row {number}, column {column}")
            if one["key"] != other["key"]:
                return  # what is behind it has moved


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _bytes_differ(store: Store, name: str, rebuilt: bytes) -> Iterator[Fault]:
    size = store.size_bytes(name)
    if size == len(rebuilt):
        found = store.read(name)
        places = [place for place, (a, b) in enumerate(zip(found, rebuilt, strict=True)) if a != b]
        what = f"{len(places)} bytes differ from the index that its tar gives, which is the version's"
        yield Fault(name, what, None, places[0], places[-1] + 1)
    else:
        start, end = sorted((size, len(rebuilt)))
        yield Fault(name, f"has {size} bytes; that which its tar gives has {len(rebuilt)}", None, start, end)


def _count_webdataset(store: Store, name: str) -> int:
    # Not at import time: webdataset brings torch.
    from webdataset.tariterators import group_by_keys, tar_file_expander

    # What `WebDataset(url)` is made of, less its opening of files, which it leaves to the garbage collector.
    with store.open(name) as file:
        samples = group_by_keys(tar_file_expander([{"url": name, "stream": file}], handler=_stop))
        return sum({"mp4", "json"} <= sample.keys() for sample in samples)


def _stop(_: Exception) -> bool:
    """The handler webdataset asks about a tar it cannot read: count what came before."""
    return False


def _by_hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
