"""The index of wids, which reads samples of a WebDataset in any order: one JSON a split."""

from __future__ import annotations

import json

from shards.export.base import Export
from shards.export.view import View


class Wids(Export):
    """`<split>.json`, which `wids.ShardListDataset` opens: the shards in their order, and what each holds.

    https://github.com/webdataset/webdataset/blob/main/docs/wids.md. Its checksum is MD5 only, which our
    versions do not have, so it is left out; `genieset verify` holds the SHA-256 of each shard.
    """

    kind = "wids"

    def files(self, view: View) -> dict[str, bytes]:
        """One a split; URLs are relative to the file, as wids reads them."""
        found = {}
        for split in sorted(view.version.splits):
            shards = [shard for shard in view.version.shards if shard.split == split]
            body = {
                "__kind__": "wids-shard-index-v1",
                "wids_version": 1,
                "name": f"{view.name}-{split}",
                "info": {"version": view.version.number, "version_sha256": view.version.hash},
                "shardlist": [
                    {"url": view.url(shard.name), "nsamples": shard.samples, "filesize": shard.bytes}
                    for shard in shards
                ],
            }
            found[f"{split}.json"] = json.dumps(body, indent=1).encode() + b"\n"
        return found
