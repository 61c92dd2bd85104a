"""Reading ahead: a bucket takes its time to answer, so a few requests are under way at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from shards.store import Store

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8
"""So many items are under way or wait to be taken, at most."""

MOST_BYTES = 32 * 1024 * 1024
"""So many bytes are, unless one item alone is more."""


def in_order(
    store: Store, function: Callable[[T], R], items: Iterable[T], size_bytes: Callable[[T], int] | None = None
) -> Iterator[R]:
    """What a function that reads from a store gives for each item, in the order of the items.

    From a folder one after the other, by this thread: its system reads ahead.

    Args:
        items: taken as there is room for them.
        size_bytes: of what an item gives; without it only their number counts.

    Raises:
        Whatever the function does, where its item's turn is.
    """
    if not store.is_remote:
        yield from map(function, items)
        return
    waiting: deque[tuple[int, Future[R]]] = deque()
    held_bytes = 0
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ahead") as pool:
        try:
            for item in items:
                size = size_bytes(item) if size_bytes else 0
                while waiting and (len(waiting) >= AT_ONCE or held_bytes + size > MOST_BYTES):
                    held_bytes -= waiting[0][0]
                    yield waiting.popleft()[1].result()
                waiting.append((size, pool.submit(function, item)))
                held_bytes += size
            while waiting:
                yield waiting.popleft()[1].result()
        finally:
            for _, future in waiting:
                future.cancel()
