"""The versions of a dataset at a glance: what each consists of, and what it shares with those before."""

from __future__ import annotations

from dataclasses import dataclass

from shards.manifest import list_versions, read_version, recipe_hash
from shards.store import Store


@dataclass(frozen=True)
class VersionSummary:
    """One version.

    Attributes:
        hash: of its object, which names all its bytes.
        parent: the number of the one whose layout it kept; it may be gone.
        recipe_hash: of the settings that decided what is in it.
        shards: how many it has.
        new_shards: how many of them no earlier version has that is still there.
        clips: split -> number of clips.
        bytes: of its tars.
        new_bytes: of the new ones.
    """

    number: int
    hash: str
    parent: int | None
    recipe_hash: str
    shards: int
    new_shards: int
    clips: dict[str, int]
    bytes: int
    new_bytes: int


def summarize_versions(store: Store) -> list[VersionSummary]:
    """All versions, oldest first.

    Raises:
        UserError: one is damaged.
    """
    seen: set[str] = set()
    found = []
    for number in list_versions(store):
        version = read_version(store, number)
        new = [entry for entry in version.shards if entry.name not in seen]
        seen.update(entry.name for entry in new)
        found.append(
            VersionSummary(
                number=number,
                hash=version.hash,
                parent=version.parent,
                recipe_hash=recipe_hash(version.recipe),
                shards=len(version.shards),
                new_shards=len(new),
                clips=version.splits,
                bytes=sum(entry.bytes for entry in version.shards),
                new_bytes=sum(entry.bytes for entry in new),
            )
        )
    return found
