"""Verify: what a version says against what the store holds, down to the decoded frame."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shards.catalog import CLIPS, VIDEOS, catalog_names, is_whole
from shards.codec import CodecError, probe_clip
from shards.index import index_name, read_clip, read_index
from shards.manifest import ShardEntry, Version
from shards.records import Placed
from shards.store import Store
from shards.tar import Member, read_members


@dataclass(frozen=True)
class Fault:
    """Something that is not as the version says.

    Attributes:
        where: object, and key or byte where that is known.
        what: one line.
    """

    where: str
    what: str


@dataclass(frozen=True)
class Verified:
    """What was checked, and every fault found."""

    version: int
    shards: int
    samples: int
    decoded: int
    faults: tuple[Fault, ...]


def verify(
    store: Store,
    version: Version,
    sample: int | None = None,
    on_shard: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check a version.

    Args:
        sample: decode only so many clips, chosen by a hash of their keys; all if None.
        on_shard: is called with the number of shards checked and of all.
    """
    faults: list[Fault] = []
    shards: list[_Opened] = []
    for entry in version.shards:
        placed: list[Placed] = []
        faults += _guarded(index_name(entry.name), _read_index(store, entry, placed))
        shards.append((entry, placed))
    keys = [clip.clip.key for _, placed in shards for clip in placed]
    decoded = set(keys if sample is None else sorted(keys, key=_by_hash)[:sample])
    for number, (entry, placed) in enumerate(shards, 1):
        faults += _guarded(entry.name, _check_shard(store, entry, placed))
        for clip in placed:
            if clip.clip.key in decoded and store.exists(entry.name):
                where = f"{entry.name}: {clip.clip.key} at byte {clip.offset}"
                faults += _guarded(where, _check_clip(store, entry, clip, where))
        if on_shard:
            on_shard(number, len(version.shards))
    faults += _check_whole(version, shards)
    faults += _check_catalog(store, version, shards)
    return Verified(version.number, len(version.shards), len(keys), len(decoded), tuple(faults))


_Opened = tuple[ShardEntry, list[Placed]]


def _guarded(where: str, faults: Iterator[Fault]) -> Iterator[Fault]:
    """These faults, and one more if what is looked at is damaged so that looking fails."""
    try:
        yield from faults
    except FileNotFoundError:
        yield Fault(where, "is missing")
    # Readers of damaged bytes raise whatever they stumble over.
    except Exception as error:
        told = (str(error).splitlines() or [""])[0]
        yield Fault(where, f"cannot be read: {type(error).__name__}: {told}")


def _read_index(store: Store, shard: ShardEntry, placed: list[Placed]) -> Iterator[Fault]:
    """Fill in the clips of a shard, if its index is what the version says."""
    name = index_name(shard.name)
    if hashlib.sha256(store.read(name)).hexdigest() == shard.index_sha256:
        placed += read_index(store, shard.name)
    else:
        yield Fault(name, "sha256 differs from the version's")


def _check_shard(store: Store, shard: ShardEntry, placed: list[Placed]) -> Iterator[Fault]:
    """The tar as bytes, as members, and as webdataset reads it."""
    if not shard.name.startswith(f"shards/{shard.split}-"):
        yield Fault(shard.name, f"is in split {shard.split} of the version, its name says otherwise")
    if len(placed) != shard.samples:
        yield Fault(shard.name, f"has {len(placed)} clips in its index, the version says {shard.samples}")
    lengths = dict(sorted(Counter(clip.clip.n_frames for clip in placed).items()))
    if lengths != shard.clips_by_frames:
        yield Fault(shard.name, f"has clips of {lengths} frames, the version says {shard.clips_by_frames}")
    with store.open(shard.name) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size_bytes = file.seek(0, io.SEEK_END)
        if size_bytes != shard.bytes:
            yield Fault(shard.name, f"has {size_bytes} bytes, the version says {shard.bytes}")
        if digest != shard.sha256:
            yield Fault(shard.name, "sha256 differs from the version's")
        file.seek(0)
        members = list(read_members(file))
    yield from _check_members(store, shard, placed, members)
    read = _count_webdataset(store, shard.name)
    if read != shard.samples:
        yield Fault(shard.name, f"webdataset reads {read} samples, the version says {shard.samples}")


def _check_members(
    store: Store, shard: ShardEntry, placed: list[Placed], members: list[Member]
) -> Iterator[Fault]:
    seen: list[str] = []
    for member in members:
        if seen[-1:] != [member.key]:
            if member.key in seen:
                yield Fault(f"{shard.name}: {member.key}", "members of one sample are not adjacent")
            seen.append(member.key)
    if seen != [clip.clip.key for clip in placed]:
        yield Fault(shard.name, "the samples of the tar are not those of its index, in its order")
    places = {(member.key, member.suffix): member for member in members}
    for clip in placed:
        where = f"{shard.name}: {clip.clip.key}"
        mp4, told = places.get((clip.clip.key, "mp4")), places.get((clip.clip.key, "json"))
        if mp4 is None or told is None:
            yield Fault(where, "lacks its .mp4 or .json")
            continue
        if (mp4.offset, mp4.size) != (clip.offset, clip.size):
            yield Fault(where, f"lies at byte {mp4.offset}, the index says {clip.offset}")
        try:
            same = json.loads(store.read_range(shard.name, told.offset, told.size)) == clip.clip.as_json()
        except ValueError:
            same = False
        if not same:
            yield Fault(where, f".json at byte {told.offset} differs from the index")


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


def _check_clip(store: Store, shard: ShardEntry, clip: Placed, where: str) -> Iterator[Fault]:
    try:
        encoded = read_clip(store, shard.name, clip)
        found = probe_clip(encoded.mp4)
        if (found.packet_sizes, found.extradata) != (clip.packet_sizes, clip.extradata):
            yield Fault(where, "its packets are not those of the index")
        told = _decode(encoded.mp4)
    except CodecError as error:
        yield Fault(where, str(error))
        return
    expected = (clip.clip.n_frames, clip.clip.fps)
    if told[:2] != expected:
        yield Fault(where, f"decodes to {told[0]} frames at {told[1]:g} fps, the index says {expected}")
    box = clip.clip.content_box
    if box.x + box.width > told[2] or box.y + box.height > told[3]:
        yield Fault(where, f"is {told[2]}x{told[3]}, its content box {tuple(box)} lies outside")


def _decode(mp4: bytes) -> tuple[int, float, int, int]:
    """Frames, frames a second, width and height, as a second decoder (decord) sees them."""
    import decord

    try:
        reader = decord.VideoReader(io.BytesIO(mp4), num_threads=1)
        frames = reader.get_batch(range(len(reader))).asnumpy()
    except decord.DECORDError as error:
        raise CodecError(f"does not decode: {str(error).splitlines()[0]}") from error
    count, height, width, _ = frames.shape
    return count, round(reader.get_avg_fps(), 3), width, height


def _check_whole(version: Version, shards: list[_Opened]) -> Iterator[Fault]:
    places: dict[str, list[str]] = {}
    sides: dict[str, set[str]] = {}
    for entry, placed in shards:
        for clip in placed:
            places.setdefault(clip.clip.key, []).append(entry.name)
            sides.setdefault(clip.clip.video_id, set()).add(entry.split)
    for key, names in places.items():
        if len(names) > 1:
            yield Fault(f"{version.name}: {key}", f"is in it {len(names)} times: {', '.join(names)}")
    for video_id, splits in sides.items():
        if len(splits) > 1:
            yield Fault(f"{version.name}: {video_id}", f"is in more than one split: {sorted(splits)}")


def _check_catalog(store: Store, version: Version, shards: list[_Opened]) -> Iterator[Fault]:
    for kind, check in ((VIDEOS, _check_videos), (CLIPS, _check_placed)):
        names = catalog_names(store, kind, version)
        if not names:
            yield Fault(f"catalog/{kind}", f"that of {version.name} is missing")
        for name in names:
            yield from _guarded(name, check(store, name, shards))


def _check_videos(store: Store, name: str, shards: list[_Opened]) -> Iterator[Fault]:
    if not is_whole(name, store.read(name)):
        yield Fault(name, "its bytes are not those it is named by")
        return
    told = set(store.read_table(name, columns=["video_id"])["video_id"].to_pylist())
    for video_id in sorted({clip.clip.video_id for _, placed in shards for clip in placed} - told):
        yield Fault(f"{name}: {video_id}", "is not in it, though the version holds clips of it")


def _check_placed(store: Store, name: str, shards: list[_Opened]) -> Iterator[Fault]:
    if not is_whole(name, store.read(name)):
        yield Fault(name, "its bytes are not those it is named by")
        return
    table = store.read_table(name, columns=["key", "decision", "split", "shard", "offset"])
    told = {
        row["key"]: (row["split"], row["shard"], row["offset"])
        for row in table.to_pylist()
        if row["decision"] == "kept"
    }
    lies = {
        clip.clip.key: (entry.split, entry.name, clip.offset) for entry, placed in shards for clip in placed
    }
    for key in sorted(told.keys() | lies.keys()):
        if told.get(key) != lies.get(key):
            yield Fault(f"{name}: {key}", f"the catalog says {told.get(key)}, it lies at {lies.get(key)}")


def _by_hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
