"""What an object store's client does for `shards.object_store`; one file each has S3's and Google's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, Protocol


@dataclass(frozen=True)
class Patience:
    """How long an object store is waited for.

    Attributes:
        connect_s: until it takes a connection.
        answer_s: until the next byte of its answer.
        attempts: so often a request is sent before its failure is final; between two of them is a pause
            that doubles, up to 20 s.
    """

    connect_s: float = 10.0
    answer_s: float = 60.0
    attempts: int = 6


DEFAULT_PATIENCE = Patience()


class Found(NamedTuple):
    """What is known of an object.

    Attributes:
        size: in bytes.
        etag: another one if its bytes are.
        modified_s: when it was put, in seconds of Unix time.
    """

    size: int
    etag: str
    modified_s: float


class Upload(NamedTuple):
    """An object that is sent in parts and has not become one; its sender may be dead.

    Attributes:
        name: that it is to have: a key in a bucket, a name in a store.
        id: what the server tells it from others by.
        size: of the parts that have arrived, in bytes.
        heard_s: when the last of them did, in seconds of Unix time by the server's clock.
    """

    name: str
    id: str
    size: int
    heard_s: float


class Bucket(Protocol):
    """A bucket. Whatever a person has to mend is a UserError of one line; keys are whole."""

    def obeys(self, key: str, size: int) -> bool:
        """Whether a put of so many bytes obeys its condition: a second one does not win over the first.

        Args:
            key: of an object with which the server shows it, once for each way in which it takes objects,
                unless that is known; it stays.
        """

    def put(self, key: str, file: BinaryIO, size: int, *, if_absent: bool) -> bool:
        """Make an object of the `size` bytes of a seekable file, read a part at a time.

        Returns:
            Whether they are the object now: False only with `if_absent`, where another one is.
        """

    def get(self, key: str, offset: int = 0, size: int | None = None, etag: str | None = None) -> bytes:
        """The bytes from `offset`, by one request; fewer than `size` only at the object's end.

        Args:
            etag: of the object that is meant.

        Raises:
            FileNotFoundError: there is no such object.
            ChangedError: it is another one by now.
        """

    def find(self, key: str) -> Found | None:
        """An object's size; None if there is none."""

    def remove(self, key: str) -> None:
        """Take an object away; one that is not there is no matter."""

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin with a prefix and have no `/` after it."""

    def folders(self, prefix: str) -> Iterator[str]:
        """What keys begin with that do have one, up to it and with it; each once."""

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """What is sent in parts and not an object yet, of the keys that begin with a prefix.

        Nothing where the server ends by itself what nobody goes on with, or does not say what there is.
        """

    def end_upload(self, upload: Upload) -> None:
        """Throw away the parts; one that has ended is no matter."""


class ChangedError(OSError):
    """An object was written over while it was read."""
