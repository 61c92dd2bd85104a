"""Versions: what was published, immutable, each naming the objects it consists of.

`versions/000001.json` is written last and created only if absent, so a version that can be read is
complete. The file alone opens a dataset: it says how many clips of which length each shard holds,
which is all that the order of training windows depends on.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from shards.errors import UserError
from shards.store import Store

SCHEMA = 2
_FOLDER = "versions"
_NAME = re.compile(_FOLDER + r"/(\d{6,})\.json")


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

    @cached_property
    def data(self) -> bytes:
        """The object's bytes: the same for the same content and recipe, wherever it lies."""
        body = asdict(self) | {"splits": self.splits, "recipe_hash": recipe_hash(self.recipe)}
        return json.dumps(body, sort_keys=True, indent=1).encode() + b"\n"

    @property
    def hash(self) -> str:
        """SHA-256 of the object's bytes."""
        return hashlib.sha256(self.data).hexdigest()

    def same_content(self, other: Version) -> bool:
        """Whether both hold the same shards by the same recipe."""
        return self.shards == other.shards and recipe_hash(self.recipe) == recipe_hash(other.recipe)


def version_name(number: int) -> str:
    """`versions/000001.json`."""
    return f"{_FOLDER}/{number:06d}.json"


def recipe_hash(recipe: dict[str, Any]) -> str:
    """SHA-256 of a recipe's canonical JSON, in which mappings are sorted and lists keep their order."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def create_version(store: Store, version: Version) -> bool:
    """Publish a version; False if its number is taken."""
    return store.create(version.name, version.data)


def list_versions(store: Store) -> list[int]:
    """The numbers of all published versions, ascending; what else lies beside them is not looked at."""
    found = (_NAME.fullmatch(name) for name in store.list(_FOLDER))
    return sorted(int(match[1]) for match in found if match and version_name(int(match[1])) == match[0])


def read_version(store: Store, number: int | None = None) -> Version:
    """A published version, by default the newest.

    Raises:
        UserError: there is no such version, it is damaged, or it was written by another schema.
    """
    numbers = list_versions(store)
    if not numbers:
        raise UserError(f"dataset {store.url}: nothing is published there; run `genieset build` first")
    number = number or numbers[-1]
    if number not in numbers:
        raise UserError(f"dataset {store.url}: no version {number}; there are {numbers}")
    name = version_name(number)
    data = store.read(name)
    try:
        body = json.loads(data)
        if body["schema"] != SCHEMA:
            raise UserError(
                f"dataset {store.url}: {name} has schema {body['schema']}; this release reads {SCHEMA}"
            )
        version = _parse(body)
        problem = _disagreement(version, number, body, data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise UserError(f"dataset {store.url}: {name} is damaged ({problem}); bring the published file back")
    return version


def _parse(body: dict[str, Any]) -> Version:
    shards = tuple(
        ShardEntry(**shard | {"clips_by_frames": {int(n): c for n, c in shard["clips_by_frames"].items()}})
        for shard in body["shards"]
    )
    return Version(number=body["number"], parent=body["parent"], recipe=body["recipe"], shards=shards)


def _disagreement(version: Version, number: int, body: dict[str, Any], data: bytes) -> str | None:
    """What in a version's object is not as its shards and its recipe have it."""
    if version.number != number:
        return f"it says it is version {version.number}"
    if body["splits"] != version.splits:
        return f"splits are {body['splits']}, its shards have {version.splits}"
    if body["recipe_hash"] != recipe_hash(version.recipe):
        return "recipe_hash is not that of its recipe"
    return None if version.data == data else "it was changed after it was written"
