"""Hugging Face: a dataset card, whose header says which shards are which split."""

from __future__ import annotations

from typing import Any

import yaml

from shards.export.base import Export
from shards.export.card import card
from shards.export.summary import UNKNOWN, Summary, summarise
from shards.export.view import View

_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1T")


class Hf(Export):
    """`README.md`: `datasets.load_dataset(FOLDER)` reads the shards that its header names, and no others.

    The header is YAML (https://huggingface.co/docs/hub/datasets-manual-configuration) and holds nothing
    that a stranger wrote. Beneath it the card tells, from the catalog, what is in the dataset and why.
    """

    kind = "hf"

    def files(self, view: View) -> dict[str, bytes]:
        """The card."""
        told = summarise(view)
        header = yaml.safe_dump(_header(view, told), sort_keys=True, width=1000)
        return {"README.md": f"---\n{header}---\n\n{card(view, told)}".encode()}


def _header(view: View, told: Summary) -> dict[str, Any]:
    files = [
        {
            "split": split,
            "path": [view.url(shard.name) for shard in view.version.shards if shard.split == split],
        }
        for split in sorted(view.version.splits, key=lambda split: (split != "train", split))
    ]
    return {
        "configs": [{"config_name": "default", "data_files": files}],
        "pretty_name": view.name,
        "size_categories": [_SIZES[min(max(len(str(told.total.clips)) - 3, 0), len(_SIZES) - 1)]],
        "tags": ["genieset", "video", "webdataset", "world-model"],
        **_licence(told),
    }


def _licence(told: Summary) -> dict[str, str]:
    """The one licence that holds for all of it; the hub's list has no name for a mixture."""
    if any(group.name == UNKNOWN for group in told.licences):
        return {"license": "unknown"}
    return {"license": "other", "license_name": "per-video"}
