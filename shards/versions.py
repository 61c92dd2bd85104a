"""The versions of a dataset at a glance: what each consists of, and what it shares with those before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shards.errors import UserError
from shards.manifest import list_versions, read_version, recipe_hash
from shards.store import Store


@dataclass(frozen=True)
class VersionSummary:
    """One version.

    Attributes:
        fault: what is wrong with its object; then nothing else is known of it.
        hash: of its object, which names all its bytes.
        parent: the number of the one whose layout it kept; it may be gone.
        recipe: the settings that decided what is in it.
        recipe_hash: of these.
        changed: the settings that the parent has not, or has otherwise, or alone, such as
            `curate.rules.static`; None if there is no parent, or it is gone.
        shards: how many it has.
        new_shards: how many of them no earlier version has that is still there.
        clips: split -> number of clips.
        bytes: of its tars.
        new_bytes: of the new ones.
    """

    number: int
    fault: str | None = None
    hash: str | None = None
    parent: int | None = None
    recipe: dict[str, Any] | None = None
    recipe_hash: str | None = None
    changed: tuple[str, ...] | None = None
    shards: int = 0
    new_shards: int = 0
    clips: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    new_bytes: int = 0


def summarize_versions(store: Store) -> list[VersionSummary]:
    """All versions, oldest first."""
    seen: set[str] = set()
    recipes: dict[int | None, dict[str, Any]] = {}
    found = []
    for number in list_versions(store):
        try:
            version = read_version(store, number)
        except UserError as error:
            found.append(VersionSummary(number, fault=str(error)))
            continue
        parent = recipes.get(version.parent)
        recipes[number] = version.recipe
        new = [entry for entry in version.shards if entry.name not in seen]
        seen.update(entry.name for entry in new)
        found.append(
            VersionSummary(
                number=number,
                hash=version.hash,
                parent=version.parent,
                recipe=version.recipe,
                recipe_hash=recipe_hash(version.recipe),
                changed=None if parent is None else tuple(changed_settings(parent, version.recipe)),
                shards=len(version.shards),
                new_shards=len(new),
                clips=version.splits,
                bytes=sum(entry.bytes for entry in version.shards),
                new_bytes=sum(entry.bytes for entry in new),
            )
        )
    return found


def changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The settings in which two recipes differ, as a config spells them, in the order of the alphabet.

    What only one of them has is named as a whole, not part by part.
    """
    for key in sorted({*before, *after}):
        one, other = before.get(key, _NONE), after.get(key, _NONE)
        if one == other:
            continue
        parts, others = _parts(one), _parts(other)
        if parts is None or others is None or parts == others:
            yield key  # of rules that are the same, the order differs
        else:
            yield from (f"{key}.{rest}" for rest in changed_settings(parts, others))


_NONE = object()


def _parts(setting: object) -> dict[str, Any] | None:
    """What a setting consists of by name: rules are pairs, for their order counts."""
    if isinstance(setting, dict):
        return setting
    if isinstance(setting, list) and all(isinstance(one, list) and len(one) == 2 for one in setting):
        return {str(name): value for name, value in setting}
    return None
