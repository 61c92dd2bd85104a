"""How a dataset is used: an exact stream of training windows, and the models that are trained on it.

Public:

* `open_stream`: an endless iterator of `Batch`, resumable at any step on any number of ranks.
* `batch_digests`: one hash a global step, to prove that two streams are the same.
* `trainer_bridge.launch.placement`: this process's rank and how many there are, under torchrun and Ray Train.
* `trainer_bridge.cache.Cache`: copies of remote shards on a local disk.
* `trainer_bridge.augment.Augment`: changes of colour, each window its own.
* `trainer_bridge.config.TrainConfig` and `trainer_bridge.train.train`: the training loop.
* `trainer_bridge.models.presets.PRESETS`: the models by name.

    from trainer_bridge import open_stream

    for batch in open_stream("./data/demo", batch_size=32, workers=2):
        batch.video  # float32 [B, T, 3, H, W], RGB in [0, 1]

The order of windows is a pure function, so a batch can be named without reading anything:

>>> from trainer_bridge.order import WindowOrder, windows_in
>>> order = WindowOrder([windows_in({160: 2}, window=16)], seed=0)
>>> order.windows_per_epoch
20
>>> [place.window for place in order.locate(range(5))]
[1, 17, 9, 0, 19]

This package imports no other package of Genieset than `shards`. Importing it loads no torch: what
needs torch is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer_bridge.batches import batch_digests
    from trainer_bridge.stream import Batch, Stream, open_stream

__all__ = ["Batch", "Stream", "batch_digests", "open_stream"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "batches" if name == "batch_digests" else "stream"
    return getattr(import_module(f"{__name__}.{home}"), name)
