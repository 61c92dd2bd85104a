"""The wide frames of clips, for whoever must see what 160x90 does not show: text, and small faces."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache

from labelling.clips import ClipReader
from shards.store import Store
from shards.wide import WideFrame, WideReader, wide_name

_OPEN_PACKS = 4
_CLIPS_KEPT = 64


class WideFrames:
    """Reads the wide frames of some clips, for any number of threads. A context manager.

    Args:
        clips: tells which clips may be read, and in which packs they are.
    """

    def __init__(self, store: Store, clips: ClipReader) -> None:
        self._store = store
        self._clips = clips
        self._lock = threading.Lock()
        self._readers: OrderedDict[str, WideReader] = OrderedDict()
        self._of_clip = lru_cache(_CLIPS_KEPT)(self._read)

    def __enter__(self) -> WideFrames:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            while self._readers:
                self._readers.popitem()[1].__exit__()

    def any(self) -> bool:
        """Whether any of these clips' packs has wide frames beside it."""
        return any(self._store.exists(wide_name(pack)) for pack in self._clips.packs())

    def read(self, key: str) -> tuple[WideFrame, ...] | None:
        """The frames of a clip in their order, if any were made; None for a clip that is none of these.

        Raises:
            UserError: they are damaged.
        """
        pack = self._clips.pack(key)
        if pack is None:
            return None
        with self._lock:
            return self._of_clip(pack, key)

    def _read(self, pack: str, key: str) -> tuple[WideFrame, ...]:
        if not self._store.exists(wide_name(pack)):
            return ()
        reader = self._readers.pop(pack, None) or WideReader(self._store, pack)
        self._readers[pack] = reader
        if len(self._readers) > _OPEN_PACKS:
            self._readers.popitem(last=False)[1].__exit__()
        return reader.frames(key)
