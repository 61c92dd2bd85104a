"""The object of a version: whether it can be what was published, and which field of it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from shards.catalog import CLIPS, VIDEOS, catalog_names
from shards.checks.faults import Fault
from shards.errors import UserError
from shards.manifest import Version, list_versions, read_version, version_name
from shards.store import Store

# A version of more than a hundred thousand shards.
_LARGEST_BYTES = 64_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_version(store: Store, number: int | None) -> tuple[Version | None, str, list[Fault]]:
    """A version, the newest by default, with the name of its object and its faults; None if it says nothing.

    Raises:
        UserError: nothing is published, or there is no such version.
    """
    numbers = list_versions(store)
    if not numbers or (number and number not in numbers):
        read_version(store, number)  # says so
    number = number or numbers[-1]
    name = version_name(number)
    size = store.size_bytes(name)
    if size > _LARGEST_BYTES:
        what = f"has {size} bytes; no version has more than {_LARGEST_BYTES}"
        return None, name, [Fault(name, what, None, _LARGEST_BYTES, size)]
    faults = list(_check_json(name, store.read(name)))
    if faults:
        return None, name, faults
    try:
        version = read_version(store, number)
    except UserError as error:
        return None, name, [Fault(name, str(error).partition(f"{name} ")[2] or str(error))]
    except RecursionError:
        return None, name, [Fault(name, "is nested too deep")]
    faults = list(_check_types(version))
    return (None, name, faults) if faults else (version, name, list(check_fields(store, version)))


def _check_json(name: str, data: bytes) -> Iterator[Fault]:
    try:
        body = json.loads(data)
    except json.JSONDecodeError as error:
        place = len(error.doc[: error.pos].encode(errors="surrogatepass"))
        what = f"is not JSON: {error.msg} in line {error.lineno}"
        yield Fault(name, what, None, place, place + 1)
        return
    except UnicodeDecodeError as error:
        yield Fault(name, f"is not text: {error.reason}", None, error.start, error.end)
        return
    except (ValueError, RecursionError) as error:
        yield Fault(name, f"is not JSON: {str(error)[:200]}")
        return
    canonical = _canonical(body)
    if canonical != data:
        pairs = zip(data, canonical, strict=False)
        place = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(data), len(canonical)))
        line = data[:place].count(b"\n") + 1
        yield Fault(
            name, f"is not as it was written, from line {line} on", None, place, max(place + 1, len(data))
        )


def _canonical(body: Any) -> bytes:
    try:
        return json.dumps(body, sort_keys=True, indent=1).encode() + b"\n"
    except (ValueError, RecursionError):
        return b""


def _check_types(version: Version) -> Iterator[Fault]:
    if not isinstance(version.recipe, dict):
        yield Fault(version.name, "is no mapping", "recipe")
    for number, shard in enumerate(version.shards):
        told = vars(shard)
        lengths = shard.clips_by_frames
        for field, sound in (
            *((field, isinstance(told[field], str)) for field in ("name", "split")),
            *((field, type(told[field]) is int and told[field] >= 0) for field in ("samples", "bytes")),
            *((field, _is_sha256(told[field])) for field in ("sha256", "index_sha256")),
            ("clips_by_frames", all(type(count) is int and count >= 0 for count in lengths.values())),
        ):
            if not sound:
                yield Fault(version.name, f"is {str(told[field])[:100]!r}", f"shards[{number}].{field}")


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and bool(_SHA256.fullmatch(value))


def check_fields(store: Store, version: Version) -> Iterator[Fault]:
    """What in a version that can be read contradicts itself, or is not what was published."""
    if version.parent is not None and not (
        type(version.parent) is int and 0 < version.parent < version.number
    ):
        yield Fault(version.name, f"is {version.parent}; a parent has a lower number", "parent")
    seen: dict[str, int] = {}
    for number, shard in enumerate(version.shards):
        if shard.name in seen:
            what = f"is that of shards[{seen[shard.name]}] too: {shard.name}"
            yield Fault(version.name, what, f"shards[{number}].name")
        seen[shard.name] = number
    other = published_otherwise(store, version)
    if other:
        yield Fault(
            version.name, f"has hash {version.hash[:8]}; that which was published has the one in {other}"
        )


def published_otherwise(store: Store, version: Version) -> str | None:
    """A catalog of this number, if there are such and none of either kind is of these bytes."""
    others: list[str] = []
    for kind in (VIDEOS, CLIPS):
        if catalog_names(store, kind, version):
            return None
        stem = f"catalog/{kind}/{version.number:06d}-"
        others += [name for name in store.list(f"catalog/{kind}") if name.startswith(stem)]
    return others[0] if others else None
