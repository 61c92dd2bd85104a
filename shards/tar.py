"""Tars of samples, byte for byte the same wherever and whenever they are written.

A sample is a key and its members, `<key>.<suffix>`, adjacent and in the order given: the WebDataset
format. Written with the standard library: `webdataset.TarWriter` does not tell where it put a
member, and importing it loads torch into every worker. That webdataset reads what is written here
is proved by `shards.verify` on each dataset.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import numpy as np

Sizes = TypeVar("Sizes", int, np.ndarray[Any, np.dtype[np.int64]])


@dataclass(frozen=True)
class Member:
    """A member of a tar and the place of its bytes."""

    key: str
    suffix: str
    offset: int
    size: int


class TarWriter:
    """Appends samples to a tar. Use as a context manager: leaving it writes the tar's end."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def append(self, key: str, members: Mapping[str, bytes]) -> dict[str, Member]:
        """Write a sample; returns the place of each member by its suffix."""
        places = {}
        for suffix, data in members.items():
            header = _header(key, suffix, len(data))
            places[suffix] = Member(key, suffix, self._tar.offset + tarfile.BLOCKSIZE, len(data))
            self._tar.addfile(header, io.BytesIO(data))
        return places


def header_bytes(key: str, suffix: str, size: int) -> bytes:
    """The header that `TarWriter` writes before a member: mode 0444, owner and time 0."""
    return _header(key, suffix, size).tobuf(tarfile.USTAR_FORMAT)


def _header(key: str, suffix: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(f"{key}.{suffix}")
    header.size, header.mode = size, 0o444
    return header


def padded_bytes(size: Sizes) -> Sizes:
    """What a member of `size` bytes takes up in a tar: its header and its bytes in whole blocks."""
    return tarfile.BLOCKSIZE * (1 + -(-size // tarfile.BLOCKSIZE))


def tar_bytes(members_bytes: int) -> int:
    """The size of a tar whose members take up `members_bytes`: two empty blocks, in whole records."""
    return -(-(members_bytes + 2 * tarfile.BLOCKSIZE) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def members_room(max_bytes: int) -> int:
    """How much the members of a tar may take up for it to be no larger than this: inverse of `tar_bytes`."""
    return max_bytes // tarfile.RECORDSIZE * tarfile.RECORDSIZE - 2 * tarfile.BLOCKSIZE


def read_members(file: BinaryIO) -> Iterator[Member]:
    """The members of a tar in their order, without reading their bytes.

    Raises:
        tarfile.TarError: the file is not a tar or ends too early.
    """
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for header in tar:
            key, _, suffix = header.name.partition(".")
            yield Member(key, suffix, header.offset_data, header.size)
