"""A limit of memory on what this process does with a stranger's bytes."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def at_most_more(more_bytes: int) -> Iterator[None]:
    """Meanwhile the process may take so much address space more than it has, and no further.

    Past it an allocation fails, as it would on a full machine: libraries report it, Python raises
    MemoryError. Far cheaper than a process of its own for something that takes milliseconds.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more_bytes
    soft, hard = before
    if soft == resource.RLIM_INFINITY or limit < soft:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
