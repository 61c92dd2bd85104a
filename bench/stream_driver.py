"""Runs a stream of ours, or one of its floors: `python -m bench.stream_driver KIND SETTINGS`.

SETTINGS is a JSON object with the fields of `Settings`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from bench.turns import serve
from shards.codec import Frames, decode_clip, split_packets
from shards.index import read_clip, read_index
from shards.manifest import read_version
from shards.records import Placed
from shards.store import Store
from trainer_bridge import open_stream
from trainer_bridge.batches import BatchSettings, GlobalBatches
from trainer_bridge.loading import Loader, Shares

RAW_CLIPS = 200
_HELD = 1280  # windows whose packets a floor holds in memory; some 20 MB


@dataclass(frozen=True)
class Settings:
    """What to make.

    Attributes:
        home: a folder for what is converted, and kept.
        aligned: whether windows begin at multiples of their length.
        visits: windows that are made of a clip before the next one.
        warm: batches before the first turn.
    """

    dataset: str
    split: str
    home: str
    frames: int
    window: int
    batch_size: int
    aligned: bool
    visits: int
    workers: int
    warm: int


def planes(settings: Settings) -> Iterator[int]:
    """What a stream does for a GPU: all but the colours, which are the GPU's work."""
    rules = BatchSettings(
        settings.batch_size,
        settings.split,
        settings.window,
        starts="aligned" if settings.aligned else "anywhere",
        windows_per_visit=settings.visits,
    )
    batches = GlobalBatches(settings.dataset, rules)
    shares = Shares(batches, step=0, rank=0, world_size=1)
    loader = Loader(batches, shares, workers=settings.workers, pinned=False, stall_s=60)
    while True:
        yield len(loader.next().planes)


def rgb_float32(settings: Settings) -> Iterator[int]:
    """The stream's colours on the CPU, as a model takes them."""
    return _stream(settings)


def rgb_uint8(settings: Settings) -> Iterator[int]:
    """The stream's colours on the CPU, as peers give them."""
    return _stream(settings, dtype=torch.uint8)


def _stream(settings: Settings, **options: Any) -> Iterator[int]:
    stream = open_stream(
        settings.dataset,
        split=settings.split,
        batch_size=settings.batch_size,
        window=settings.window,
        workers=settings.workers,
        starts="aligned" if settings.aligned else "anywhere",
        windows_per_visit=settings.visits,
        **options,
    )
    for batch in stream:
        yield len(batch.keys)


def decode_and_keep(settings: Settings) -> Iterator[int]:
    """Packets in memory, one decoder that stays open, and the pictures copied into a batch."""
    return _floor(settings, keep=True)


def decode_alone(settings: Settings) -> Iterator[int]:
    """The same, but nobody looks at the pictures."""
    return _floor(settings, keep=False)


def _floor(settings: Settings, *, keep: bool) -> Iterator[int]:
    kept = settings.window * settings.visits
    room: Frames | None = None
    contexts: dict[bytes, Any] = {}
    done = 0
    for extradata, packets in cycle(_runs(settings)):
        if extradata not in contexts:
            contexts[extradata] = context = av.CodecContext.create("h264", "r")
            context.extradata, context.thread_count = extradata, 1
        place = done * settings.window - (len(packets) - kept)
        for number, picture in enumerate(_pictures(contexts[extradata], packets), place):
            if not keep or number < done * settings.window:
                continue
            if room is None:
                most = (settings.batch_size + settings.visits) * settings.window
                room = np.empty((most, picture.height * 3 // 2, picture.width), np.uint8)
            _copy(picture, room[number])
        done += settings.visits
        if done >= settings.batch_size:
            yield done
            done = 0


def _pictures(context: Any, packets: list[bytes]) -> Iterator[Any]:
    for packet in packets:
        yield from context.decode(av.Packet(packet))
    yield from context.decode(None)
    context.flush_buffers()


def _copy(picture: Any, to: Frames) -> None:
    height, width = picture.height, picture.width
    chroma = to[height:].reshape(2, height // 2, width // 2)
    y, cb, cr = (np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in picture.planes)
    to[:height] = y[:height, :width]
    chroma[0] = cb[: height // 2, : width // 2]
    chroma[1] = cr[: height // 2, : width // 2]


def _runs(settings: Settings) -> list[tuple[bytes, list[bytes]]]:
    """Extradata and packets of random windows, or of whole clips, from the key frame before on."""
    store = Store(settings.dataset)
    clips = _clips(store, settings.split)
    draw = np.random.default_rng(0)
    runs = []
    for number in draw.integers(len(clips), size=_HELD // settings.visits).tolist():
        name, placed = clips[number]
        frames = len(placed.packet_sizes)
        kept = settings.window * settings.visits
        step = kept if settings.aligned else 1
        start = int(draw.integers((frames - kept) // step + 1)) * step
        lead = start % placed.gop_frames
        mp4 = read_clip(store, name, placed).mp4
        first = len(mp4) - sum(placed.packet_sizes[start - lead :])
        sizes = placed.packet_sizes[start - lead : start + kept]
        runs.append((placed.extradata, split_packets(mp4[first:], sizes)))
    return runs


def raw(settings: Settings) -> Iterator[int]:
    """Pictures that were decoded long ago: RGB in one file that is mapped; it holds some of the clips."""
    store, file = Store(settings.dataset), Path(settings.home) / "raw.npy"
    if not file.exists():
        _write_raw(store, _clips(store, settings.split)[:RAW_CLIPS], file)
    clips = np.load(file, mmap_mode="r")
    draw = np.random.default_rng(0)
    step = settings.window if settings.aligned else 1
    while True:
        windows = []
        for _ in range(settings.batch_size):
            start = int(draw.integers((settings.frames - settings.window) // step + 1)) * step
            windows.append(clips[draw.integers(len(clips)), start : start + settings.window])
        yield len(torch.from_numpy(np.stack(windows)))


def _write_raw(store: Store, clips: list[tuple[str, Placed]], file: Path) -> None:
    new = file.with_suffix(".new.npy")
    out: Any = None
    for number, (name, placed) in enumerate(clips):
        frames = decode_clip(read_clip(store, name, placed).mp4)
        colours = [
            av.VideoFrame.from_ndarray(frame, "yuv420p").to_ndarray(format="rgb24") for frame in frames
        ]
        if out is None:
            shape = (len(clips), len(colours), *colours[0].shape)
            out = np.lib.format.open_memmap(new, "w+", np.uint8, shape)
        out[number] = colours
    out.flush()
    new.rename(file)


def _clips(store: Store, split: str) -> list[tuple[str, Placed]]:
    entries = [entry for entry in read_version(store).shards if entry.split == split]
    return [(entry.name, placed) for entry in entries for placed in read_index(store, entry.name)]


KINDS: dict[str, Callable[[Settings], Iterator[int]]] = {
    "planes": planes,
    "rgb float32": rgb_float32,
    "rgb uint8": rgb_uint8,
    "decode and keep": decode_and_keep,
    "decode alone": decode_alone,
    "raw": raw,
}


def main() -> None:
    """Serve turns of one kind."""
    kind, settings_file = sys.argv[1:]
    settings = Settings(**json.loads(Path(settings_file).read_text()))
    torch.set_num_threads(1)
    serve(partial(KINDS[kind], settings), settings.warm)


if __name__ == "__main__":
    main()
