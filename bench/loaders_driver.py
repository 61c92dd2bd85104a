"""Runs another loader in its own environment: `python -m bench.loaders_driver NAME SETTINGS`.

Each makes batches of random windows of the same clips, at its best: one thread, no more frames decoded
than it needs, RGB in the order of axes that it does not have to turn. What a name means is in `LOADERS`.
SETTINGS is a JSON object with the fields of `Settings`.
"""

from __future__ import annotations

import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from bench.turns import serve

_SHUFFLED_CLIPS = 1000


@dataclass(frozen=True)
class Settings:
    """What to make.

    Attributes:
        clips: for each clip the path of its tar, its offset and its size there.
        home: an empty folder, or what an earlier run has converted into it.
        aligned: whether windows begin at multiples of their length.
        warm: batches before the first turn.
    """

    clips: list[tuple[str, int, int]]
    home: str
    frames: int
    window: int
    batch_size: int
    aligned: bool
    workers: int
    warm: int

    @property
    def tars(self) -> list[str]:
        """The shards, each once."""
        return sorted({tar for tar, _, _ in self.clips})

    def start(self) -> int:
        """The first frame of a window drawn at random."""
        if self.aligned:
            return random.randrange(self.frames // self.window) * self.window  # noqa: S311
        return random.randrange(self.frames - self.window + 1)  # noqa: S311


Decode = Callable[[bytes, int, int], Any]
"""Frames of an mp4 from one to before another: uint8 RGB `[T, H, W, 3]`, an array or a tensor."""


def torchcodec(seek_mode: str, mp4: bytes, first: int, end: int) -> Any:
    """Decode with TorchCodec."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(mp4, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode=seek_mode)
    return decoder.get_frames_in_range(first, end).data


def decord2(mp4: bytes, first: int, end: int) -> Any:
    """Decode with decord2, which calls itself decord."""
    import decord

    return decord.VideoReader(io.BytesIO(mp4), num_threads=1).get_batch(range(first, end)).asnumpy()


def pyav(seek: bool, mp4: bytes, first: int, end: int) -> Any:
    """Decode with PyAV, from the start or from the key frame before, until the window ends."""
    import av

    pictures = []
    container: Any = av.open(io.BytesIO(mp4))
    with container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        ticks = round(1 / (stream.average_rate * stream.time_base))
        if seek:
            container.seek(first * ticks, stream=stream)
        for frame in container.decode(stream):
            number = frame.pts // ticks
            if number >= first:
                # Left to itself swscale starts threads for each frame, which costs eighty times as much.
                pictures.append(frame.reformat(format="rgb24", threads=1).to_ndarray())
            if number == end - 1:
                break
    return np.stack(pictures)


def no_decode(mp4: bytes, first: int, end: int) -> Any:
    """Reads the bytes and nothing else: what the loader itself costs."""
    del first, end
    return torch.tensor(len(mp4))


def in_webdataset(decode: Decode, settings: Settings) -> Iterator[Any]:
    """One window of each clip that passes, from the very shards that Genieset wrote."""
    return _webdataset(settings, lambda mp4: [_window(decode, mp4, settings)])


def in_webdataset_all(decode: Decode, settings: Settings) -> Iterator[Any]:
    """All windows of each clip that passes: it is decoded once, from end to end."""

    def windows(mp4: bytes) -> list[Any]:
        frames = decode(mp4, 0, settings.frames)
        return [frames[start : start + settings.window] for start in range(0, len(frames), settings.window)]

    return _webdataset(settings, windows)


def _webdataset(settings: Settings, windows: Callable[[bytes], list[Any]]) -> Iterator[Any]:
    import webdataset

    def flat(samples: Iterator[dict[str, bytes]]) -> Iterator[Any]:
        for sample in samples:
            yield from windows(sample["mp4"])

    dataset = webdataset.WebDataset(settings.tars, resampled=True, shardshuffle=False)
    dataset = dataset.shuffle(_SHUFFLED_CLIPS).compose(flat).batched(settings.batch_size, collation_fn=_stack)
    return iter(DataLoader(dataset, batch_size=None, num_workers=settings.workers))


def in_litdata(decode: Decode, settings: Settings) -> Iterator[Any]:
    """One window of each clip, from chunks of its own format."""
    import litdata

    folder = Path(settings.home) / "litdata"
    if not (folder / "index.json").exists():
        litdata.optimize(
            fn=_litdata_sample,
            inputs=[tuple(clip) for clip in settings.clips],
            output_dir=str(folder),
            chunk_bytes="32MB",
            num_workers=1,
        )

    class Windows(litdata.StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> Any:
            return torch.as_tensor(_window(decode, bytes(super().__getitem__(index)["mp4"]), settings))

    return _epochs(
        lambda: litdata.StreamingDataLoader(
            Windows(str(folder), shuffle=True, drop_last=True),
            batch_size=settings.batch_size,
            num_workers=settings.workers,
        )
    )


def _litdata_sample(clip: tuple[str, int, int]) -> dict[str, bytes]:
    return {"mp4": _read(clip)}


def in_mds(decode: Decode, settings: Settings) -> Iterator[Any]:
    """One window of each clip, from MosaicML's own format."""
    from streaming import MDSWriter, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    folder = Path(settings.home) / "mds"
    if not (folder / "index.json").exists():
        with MDSWriter(out=str(folder), columns={"mp4": "bytes"}, size_limit=2**25) as out:
            for clip in settings.clips:
                out.write({"mp4": _read(clip)})
    clean_stale_shared_memory()

    class Windows(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> Any:
            return torch.as_tensor(_window(decode, bytes(super().__getitem__(index)["mp4"]), settings))

    dataset = Windows(local=str(folder), shuffle=True, batch_size=settings.batch_size)
    return _epochs(
        lambda: DataLoader(
            dataset, batch_size=settings.batch_size, num_workers=settings.workers, drop_last=True
        )
    )


LOADERS: dict[str, Callable[[Settings], Iterator[Any]]] = {
    "webdataset + torchcodec, approximate": partial(in_webdataset, partial(torchcodec, "approximate")),
    "webdataset + torchcodec, exact": partial(in_webdataset, partial(torchcodec, "exact")),
    "webdataset + decord2": partial(in_webdataset, decord2),
    "webdataset + PyAV": partial(in_webdataset, partial(pyav, False)),
    "webdataset + PyAV, seek": partial(in_webdataset, partial(pyav, True)),
    "litdata + torchcodec": partial(in_litdata, partial(torchcodec, "approximate")),
    "mosaicml-streaming + torchcodec": partial(in_mds, partial(torchcodec, "approximate")),
    "webdataset + torchcodec, whole clip": partial(in_webdataset_all, partial(torchcodec, "approximate")),
    "webdataset + PyAV, whole clip": partial(in_webdataset_all, partial(pyav, False)),
    "webdataset, not decoded": partial(in_webdataset, no_decode),
}


def _window(decode: Decode, mp4: bytes, settings: Settings) -> Any:
    start = settings.start()
    return decode(mp4, start, start + settings.window)


def _stack(windows: list[Any]) -> torch.Tensor:
    if isinstance(windows[0], torch.Tensor):
        return torch.stack(windows)
    return torch.from_numpy(np.stack(windows))


def _epochs(open_loader: Callable[[], Any]) -> Iterator[Any]:
    loader = open_loader()
    while True:
        yield from loader


def _read(clip: tuple[str, int, int]) -> bytes:
    path, offset, size = clip
    with Path(path).open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _counted(batches: Iterator[Any]) -> Iterator[int]:
    for batch in batches:
        yield len(batch)


def main() -> None:
    """Serve turns of one loader."""
    name, settings_file = sys.argv[1:]
    settings = Settings(**json.loads(Path(settings_file).read_text()))
    torch.set_num_threads(1)
    serve(lambda: _counted(LOADERS[name](settings)), settings.warm)


if __name__ == "__main__":
    main()
