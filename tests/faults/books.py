"""What a dataset's folder holds, told without the code that wrote it: plain JSON and SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

_OWN = frozenset({"attempts", "budgets", "reports", "runs", ".tmp", "config.json"})


def contents(dataset: Path) -> dict[str, str]:
    """Name -> SHA-256 of every object, but for some things.

    `attempts/` tells what began when, `budgets/` when a site was asked, `reports/` what was removed and
    `runs/` who was at work; `.tmp/` holds what a killed process was writing, and no reader looks there;
    `config.json` says where the dataset lies.
    """
    return {
        path.relative_to(dataset).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(dataset.rglob("*"))
        if path.is_file() and path.relative_to(dataset).parts[0] not in _OWN
    }


def faults_in(dataset: Path) -> list[str]:
    """What a reader who comes at this moment would stumble over."""
    return list(_faults(dataset))


def read_receipt(path: Path) -> dict[str, Any]:
    """What a receipt of a forgetting says, but for when, and for what tells of times itself."""
    body = dict(json.loads(path.read_bytes()))
    del body["at"]
    body["objects"] = sorted(
        (one["name"], one["before"], one["after"])
        for one in body["objects"]
        if not one["name"].startswith(("attempts/", ".tmp/"))
    )
    return body


def _faults(dataset: Path) -> Iterator[str]:
    found = contents(dataset)
    for name in found:
        # A name that is there belongs to a whole object.
        if name.endswith(".json"):
            json.loads((dataset / name).read_bytes())
        elif name.endswith(".parquet"):
            pq.read_metadata(dataset / name)
        elif name.startswith("shards/"):
            if found.get(name.removesuffix(".tar") + ".parquet") is None:
                yield f"{name} has no index beside it"
            if found[name][:8] != name.removesuffix(".tar")[-8:]:
                yield f"{name} is not named by its content"
    for name in found:
        if name.startswith("commits/"):
            yield from _commit_faults(dataset, name, found)
        elif name.startswith("versions/"):
            yield from _version_faults(dataset, name, found)


def _commit_faults(dataset: Path, name: str, found: dict[str, str]) -> Iterator[str]:
    pack = json.loads((dataset / name).read_bytes())["pack"]
    if pack is None:
        return
    index = pack.removesuffix(".tar") + ".parquet"
    scores = [n for n in found if n.startswith("scores/") and Path(n).name == Path(index).name]
    if pack not in found or index not in found or len(scores) != 2:
        yield f"{name} stands for a pack that is not all there"


def _version_faults(dataset: Path, name: str, found: dict[str, str]) -> Iterator[str]:
    for shard in json.loads((dataset / name).read_bytes())["shards"]:
        if found.get(shard["name"]) != shard["sha256"]:
            yield f"{name}: {shard['name']} is not what it says"
        if found.get(shard["name"].removesuffix(".tar") + ".parquet") != shard["index_sha256"]:
            yield f"{name}: the index of {shard['name']} is not what it says"
    for kind in ("videos", "clips"):
        stem = f"catalog/{kind}/{Path(name).stem}-{found[name][:8]}-"
        if not any(other == f"{stem}{digest[:8]}.parquet" for other, digest in found.items()):
            yield f"{name} has no catalog of {kind}"
