"""Versions: what was published, immutable, each naming the objects it consists of.

`versions/000001.json` is written last and created only if absent, so a version that can be read is
complete. The file alone opens a dataset: it says how many clips of which length each shard holds,
which is all that the order of training windows depends on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from shards.errors import UserError
from shards.store import Store

SCHEMA = 1
_FOLDER = "versions"


@dataclass(frozen=True)
class ShardEntry:
    """One shard of a version.

    Attributes:
        name: object name of the tar; its index lies beside it.
        samples: number of clips.
        clips_by_frames: number of clips by their number of frames (160 for clips cut from video).
    """

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str
    index_sha256: str
    clips_by_frames: dict[int, int]


@dataclass(frozen=True)
class Version:
    """A published dataset: its shards, and the recipe that decided what is in them."""

    number: int
    parent: int | None
    recipe: dict[str, Any]
    shards: tuple[ShardEntry, ...]
    schema: int = SCHEMA
    hash: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The object that holds this version."""
        return version_name(self.number)

    @property
    def splits(self) -> dict[str, int]:
        """Split -> number of clips."""
        counts: dict[str, int] = {}
        for shard in self.shards:
            counts[shard.split] = counts.get(shard.split, 0) + shard.samples
        return counts

    def same_content(self, other: Version) -> bool:
        """Whether both hold the same shards by the same recipe."""
        return self.shards == other.shards and self.recipe == other.recipe


def version_name(number: int) -> str:
    """`versions/000001.json`."""
    return f"{_FOLDER}/{number:06d}.json"


def recipe_hash(recipe: dict[str, Any]) -> str:
    """SHA-256 of a recipe's canonical JSON."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def create_version(store: Store, version: Version) -> bool:
    """Publish a version; False if its number is taken."""
    body = asdict(version) | {
        "splits": version.splits,
        "recipe_hash": recipe_hash(version.recipe),
    }
    del body["hash"]
    return store.create(version.name, json.dumps(body, sort_keys=True, indent=1).encode() + b"\n")


def list_versions(store: Store) -> list[int]:
    """The numbers of all published versions, ascending."""
    names = (name.rsplit("/", 1)[1] for name in store.list(_FOLDER))
    return sorted(int(name.removesuffix(".json")) for name in names)


def read_version(store: Store, number: int | None = None) -> Version:
    """A published version, by default the newest.

    Raises:
        UserError: there is no such version, or it was written by a newer schema.
    """
    numbers = list_versions(store)
    if not numbers:
        raise UserError(f"dataset {store.url}: nothing is published there; run `genieset build` first")
    number = number or numbers[-1]
    if number not in numbers:
        raise UserError(f"dataset {store.url}: no version {number}; there are {numbers}")
    data = store.read(version_name(number))
    body = json.loads(data)
    if body["schema"] != SCHEMA:
        raise UserError(
            f"dataset {store.url}: version {number} has schema {body['schema']}; this release reads {SCHEMA}"
        )
    shards = tuple(
        ShardEntry(**shard | {"clips_by_frames": {int(n): c for n, c in shard["clips_by_frames"].items()}})
        for shard in body["shards"]
    )
    return Version(
        number=body["number"],
        parent=body["parent"],
        recipe=body["recipe"],
        shards=shards,
        hash=hashlib.sha256(data).hexdigest(),
    )
