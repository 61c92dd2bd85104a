"""A dataset's objects in a bucket: looked at, copied to a folder, and brought back to what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.stores import client

State = dict[str, str]


class Prefix:
    """What lies under a prefix, past every proxy.

    Bytes are asked for once: an entity tag is the MD5 of an object that was sent in one piece.

    Args:
        folder: where a copy of it is kept.
    """

    def __init__(self, port: int, bucket: str, prefix: str, folder: Path) -> None:
        self._s3: Any = client(port)
        self._bucket = bucket
        self._prefix = prefix
        self._folder = folder
        self._copied: State = {}
        self._bytes: dict[str, bytes] = {}

    def state(self) -> State:
        """Name -> entity tag of every object."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        return {
            entry["Key"].removeprefix(self._prefix): entry["ETag"]
            for page in pages
            for entry in page.get("Contents", ())
        }

    def copy(self, state: State) -> Path:
        """A folder with the objects that are there now, of which `state` was told."""
        for name in self._copied.keys() - state.keys():
            (self._folder / name).unlink()
        for name, tag in state.items() - self._copied.items():
            if tag not in self._bytes:
                answer = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + name)
                self._bytes[tag] = answer["Body"].read()
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._bytes[tag])
        self._copied = dict(state)
        return self._folder

    def restore(self, state: State) -> None:
        """Bring back the objects that there were when `state` was told and copied."""
        there = self.state()
        if gone := [{"Key": self._prefix + name} for name in there.keys() - state.keys()]:
            self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": gone, "Quiet": True})
        for name, tag in state.items() - there.items():
            self._s3.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=self._bytes[tag])
