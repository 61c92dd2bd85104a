"""What a store asks of the place where its objects lie: a local folder or a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BufferedRandom, BufferedReader
from typing import Protocol

import pyarrow as pa

from shards.bucket import Upload

STAGING = ".tmp"
"""Where objects lie that nobody is to look at."""


class Ranges(Protocol):
    """One object, read by ranges."""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer only at the object's end."""

    def close(self) -> None:
        """What was held for it is let go."""


class Backend(Protocol):
    """A place for objects. Names were checked; methods are as `shards.store.Store` promises them."""

    @property
    def everywhere(self) -> str:
        """The URL that means the same to a process with another working folder."""

    def where(self, name: str) -> str:
        """A place as a person writes it."""

    def stage(self) -> AbstractContextManager[BufferedRandom]:
        """An empty file that is gone afterwards."""

    def publish(self, file: BufferedRandom, name: str, *, if_absent: bool) -> bool:
        """Make an object of a staged file's bytes; returns whether they are now the object."""

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless the name is taken; returns whether it was written."""

    def read(self, name: str) -> bytes:
        """All bytes."""

    def ranges(self, name: str) -> Ranges:
        """A reader of ranges."""

    def open(self, name: str) -> BufferedReader:
        """A seekable reader."""

    def arrow(self, name: str) -> pa.NativeFile:
        """A seekable reader for Arrow's own code."""

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name."""

    def size_bytes(self, name: str) -> int:
        """The size of an object."""

    def remove(self, name: str) -> None:
        """Take an object away."""

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder, sorted; a link to one is none."""

    def links(self, folder: str) -> list[str]:
        """Names of the links to folders directly in a folder, sorted."""

    def list(self, folder: str) -> list[str]:
        """Names of the objects directly in a folder, sorted."""

    def modified_s(self, name: str) -> float:
        """When an object was written."""

    def stamp(self, name: str) -> str:
        """What differs once an object was written anew."""

    def uploads(self) -> Sequence[Upload]:
        """What is sent in parts and not an object yet."""

    def end_upload(self, upload: Upload) -> None:
        """Throw away the parts."""

    def settle(self, folder: str) -> None:
        """Make what was removed from a folder stay removed."""
