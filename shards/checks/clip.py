"""One clip, decoded: its frames, their size and rate, against the index."""

from __future__ import annotations

import io
from collections.abc import Iterator

from shards.checks.faults import Fault, told
from shards.codec import CodecError, probe_clip
from shards.index import gop_checksums, index_name, read_clip
from shards.records import Placed
from shards.store import Store


def check_clip(
    store: Store,
    tar: str,
    clip: Placed,
    size_px: tuple[int, int] | None,
    sizes_px: dict[tuple[int, int], str],
) -> Iterator[Fault]:
    """Decode a clip whose bytes are those that the index knows.

    Args:
        size_px: width and height that it must have; None if any will do.
        sizes_px: the sizes met so far, each with the key of a clip that has it; this one's is added.
    """
    key, start, end = clip.clip.key, clip.offset, clip.offset + clip.size
    try:
        encoded = read_clip(store, tar, clip)
        found = probe_clip(encoded.mp4)
        if (found.packet_sizes, found.extradata) != (clip.packet_sizes, clip.extradata):
            yield Fault(tar, _packets_problem(found.packet_sizes, clip.packet_sizes), key, start, end)
        elif what := _groups_problem(gop_checksums(found, clip.gop_frames), clip.gop_crc32):
            yield Fault(index_name(tar), what, f"{key}, column gop_crc32")
        count, fps, width, height = _decode(encoded.mp4)
    # A decoder of bytes that nobody vouches for raises whatever it stumbles over.
    except Exception as error:
        what = str(error) if isinstance(error, CodecError) else f"does not decode: {told(error)}"
        yield Fault(tar, what, key, start, end)
        return
    if (count, fps) != (clip.clip.n_frames, round(clip.clip.fps, 3)):
        expected = f"{clip.clip.n_frames} at {clip.clip.fps:g}"
        what = f"decodes to {count} frames at {fps:g} a second; the index says {expected}"
        yield Fault(tar, what, key, start, end)
    x, y, box_width, box_height = clip.clip.content_box
    if min(x, y) < 0 or min(box_width, box_height) <= 0 or x + box_width > width or y + box_height > height:
        what = f"is {width}x{height}; its content box {tuple(clip.clip.content_box)} lies outside"
        yield Fault(tar, what, key, start, end)
    if size_px and (width, height) != size_px:
        yield Fault(tar, f"is {width}x{height}; {size_px[0]}x{size_px[1]} is the size", key, start, end)
    sizes_px.setdefault((width, height), key)


def _packets_problem(found: tuple[int, ...], told: tuple[int, ...]) -> str:
    for number, (a, b) in enumerate(zip(found, told, strict=False)):
        if a != b:
            return f"its packet {number} has {a} bytes, the index says {b}"
    if len(found) != len(told):
        return f"it has {len(found)} packets, the index says {len(told)}"
    return "its extradata is not that of the index"


def _groups_problem(found: tuple[int, ...], told: tuple[int, ...]) -> str | None:
    if len(found) != len(told):
        return f"has {len(told)} checksums, the clip {len(found)} groups of frames"
    differ = (number for number, (a, b) in enumerate(zip(found, told, strict=True)) if a != b)
    number = next(differ, None)
    return None if number is None else f"of group {number} it is {told[number]}, the tar says {found[number]}"


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
