"""Who takes part in `genieset bench stream`, and what the figures of each mean."""

from __future__ import annotations

from dataclasses import dataclass, replace

VISITS = 10
"""Windows of a clip visit, where more than one is made: all of a whole clip's."""


@dataclass(frozen=True)
class Entry:
    """A contender, and what its figures mean.

    Attributes:
        kind: measured, floor or peers.
        does: its name to the driver.
        emits: what a window is that it makes.
        starts: aligned (at multiples of a window, which are key frames) or anywhere.
        visits: windows made of a clip before the next one.
        workers: processes beside its own; with none it has one core, else all.
    """

    name: str
    kind: str
    does: str
    emits: str
    starts: str = "anywhere"
    visits: int = 1
    workers: int = 0


_PLANES, _RGB = "I420 uint8", "RGB uint8"

OURS = (
    Entry("planes", "measured", "planes", _PLANES, "aligned"),
    Entry("planes, anywhere", "measured", "planes", _PLANES),
    Entry("planes, ten a visit", "measured", "planes", _PLANES, "aligned", VISITS),
    Entry("RGB uint8", "measured", "rgb uint8", _RGB, "aligned"),
    Entry("RGB uint8, anywhere", "measured", "rgb uint8", _RGB),
    Entry("RGB uint8, ten a visit", "measured", "rgb uint8", _RGB, "aligned", VISITS),
    Entry("RGB float32", "measured", "rgb float32", "RGB float32", "aligned"),
)
FLOORS = (
    Entry("decode and keep", "floor", "decode and keep", _PLANES, "aligned"),
    Entry("decode and keep, anywhere", "floor", "decode and keep", _PLANES),
    Entry("decode and keep, ten a visit", "floor", "decode and keep", _PLANES, "aligned", VISITS),
    Entry("decode alone", "floor", "decode alone", "nothing", "aligned"),
    Entry("decode alone, anywhere", "floor", "decode alone", "nothing"),
    Entry("decode alone, ten a visit", "floor", "decode alone", "nothing", "aligned", VISITS),
    Entry("raw RGB in a mapped file", "floor", "raw", _RGB),
)
PEERS = (
    Entry("webdataset + torchcodec, approximate", "peers", "webdataset + torchcodec, approximate", _RGB),
    Entry(
        "webdataset + torchcodec, aligned", "peers", "webdataset + torchcodec, approximate", _RGB, "aligned"
    ),
    Entry("webdataset + torchcodec, exact", "peers", "webdataset + torchcodec, exact", _RGB),
    Entry("webdataset + decord2", "peers", "webdataset + decord2", _RGB),
    Entry("webdataset + decord2, aligned", "peers", "webdataset + decord2", _RGB, "aligned"),
    Entry("webdataset + PyAV", "peers", "webdataset + PyAV", _RGB),
    Entry("webdataset + PyAV, seek", "peers", "webdataset + PyAV, seek", _RGB),
    Entry("webdataset + PyAV, seek, aligned", "peers", "webdataset + PyAV, seek", _RGB, "aligned"),
    Entry("litdata + torchcodec", "peers", "litdata + torchcodec", _RGB),
    Entry("litdata + torchcodec, aligned", "peers", "litdata + torchcodec", _RGB, "aligned"),
    Entry("mosaicml-streaming + torchcodec", "peers", "mosaicml-streaming + torchcodec", _RGB),
    Entry(
        "mosaicml-streaming + torchcodec, aligned",
        "peers",
        "mosaicml-streaming + torchcodec",
        _RGB,
        "aligned",
    ),
    Entry(
        "webdataset + torchcodec, ten a visit",
        "peers",
        "webdataset + torchcodec, whole clip",
        _RGB,
        "aligned",
        VISITS,
    ),
    Entry(
        "webdataset + PyAV, ten a visit", "peers", "webdataset + PyAV, whole clip", _RGB, "aligned", VISITS
    ),
    Entry("webdataset, not decoded", "peers", "webdataset, not decoded", "nothing"),
)


TORCHCODEC, LITDATA = "webdataset + torchcodec, approximate", "litdata + torchcodec"
"""The fastest peers."""


def with_workers(peers: bool) -> list[Entry]:
    """The same with processes of their own, one and two."""
    names = {OURS[0].name} | ({TORCHCODEC, LITDATA} if peers else set())
    return [
        replace(entry, name=f"{entry.name}, {workers} worker{'s'[: workers - 1]}", workers=workers)
        for workers in (1, 2)
        for entry in (*OURS, *PEERS)
        if entry.name in names
    ]
