"""A build's config: what to build, checked whole before anything is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ByteSize, Field, field_validator

from filters.base import scorer_names, wide_scorers
from filters.titles import TitleRules
from pipeline.budget import DEFAULT_SITE, SiteSettings
from pipeline.cut import CUT_VERSION
from pipeline.frame import FrameSettings
from pipeline.opt_out import OptOut
from pipeline.sources.base import Source, source_kinds
from shards.codec import CODEC_VERSION
from shards.settings import Block, load_settings

_SUM_TOLERANCE = 1e-9

# Where the videos are from, how politely they are asked for, and who does not want that.
_SHAPES_NO_BYTES = {"dataset", "sources", "sites", "opt_out"}

if TYPE_CHECKING:
    AnySource = Source
else:
    # The kinds that were found make up the type, so that each one's settings are checked as its own.
    AnySource = Annotated[reduce(or_, source_kinds().values()), Field(discriminator="kind")]


class CurateSettings(Block):
    """Which clips are kept, and which split each goes to.

    Attributes:
        rules: name -> an SQL predicate on scores that a kept clip fulfils, tried in order.
        splits: name -> share of the videos; the shares sum to 1.
        seed: of the order in which clips fill the shards.
    """

    rules: dict[str, str] = Field(default_factory=dict)
    splits: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=lambda: {"train": 0.98, "val": 0.02}
    )
    seed: int = 0

    @field_validator("splits")
    @classmethod
    def _sums_to_one(cls, splits: dict[str, float]) -> dict[str, float]:
        if abs(sum(splits.values()) - 1) > _SUM_TOLERANCE:
            raise ValueError(f"the shares sum to {sum(splits.values()):g}; they must sum to 1")
        for name in splits:
            if not name.isalnum():
                raise ValueError(f"{name!r} cannot name a split; use letters and digits")
        return splits


class ShardSettings(Block):
    """How clips are packed into tars.

    Attributes:
        max_bytes: no shard grows beyond this, unless one clip alone does.
    """

    max_bytes: Annotated[ByteSize, Field(gt=0)] = ByteSize(256_000_000)


class BuildConfig(Block):
    """Everything `genieset build` needs to know.

    Attributes:
        sites: what each site may be asked, by the name that its extractor has in yt-dlp (`youtube`) or
            else by host; what is not said there is as in `default`.
        opt_out: videos that are never fetched: a file with an entry a line, or a list of entries.
    """

    dataset: str = Field(min_length=1)
    sources: tuple[AnySource, ...] = Field(min_length=1)
    sites: dict[str, SiteSettings] = Field(default_factory=dict)
    opt_out: OptOut = OptOut()
    titles: TitleRules | None = None
    frame: FrameSettings = FrameSettings()
    scorers: tuple[str, ...] = ("motion", "cuts")
    curate: CurateSettings = CurateSettings()
    shards: ShardSettings = ShardSettings()

    @field_validator("scorers")
    @classmethod
    def _known_scorers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in scorer_names():
                raise ValueError(f"there is no scorer {name!r}; there are {', '.join(scorer_names())}")
        if len(set(names)) < len(names):
            raise ValueError("a scorer is named twice")
        return names

    @field_validator("sites", mode="before")
    @classmethod
    def _as_in_default(cls, sites: Any) -> Any:
        usual = sites.get(DEFAULT_SITE) if isinstance(sites, dict) else None
        if not isinstance(usual, dict):
            return sites
        return {
            name: {**usual, **limits} if isinstance(limits, dict) else limits
            for name, limits in sites.items()
        }

    @field_validator("sites")
    @classmethod
    def _as_sites_are_called(cls, sites: dict[str, SiteSettings]) -> dict[str, SiteSettings]:
        for name in sites:
            if name != name.lower() or "/" in name:
                raise ValueError(f"{name!r} is no site; give a name as youtube, or a host, in small letters")
        return sites

    @property
    def wide(self) -> bool:
        """Whether wide frames are made: on request, or because a scorer looks at them."""
        return self.frame.wide or bool(wide_scorers(self.scorers))

    @property
    def unit_frame(self) -> FrameSettings:
        """How a unit is cut."""
        return self.frame.model_copy(update={"wide": self.wide})

    @property
    def unit_sources(self) -> tuple[Source, ...]:
        """The sources as they are asked for the bytes of a unit."""
        return tuple(source.for_wide() for source in self.sources) if self.wide else self.sources

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides a dataset's bytes, given its videos: no places, no parallelism."""
        recipe = self.model_dump(mode="json", exclude=_SHAPES_NO_BYTES)
        # Wide frames lie beside packs and are in no shard.
        del recipe["frame"]["wide"]
        # Rules are tried in order, and JSON objects have none.
        recipe["curate"]["rules"] = [list(rule) for rule in self.curate.rules.items()]
        return recipe

    @property
    def settings_hash(self) -> str:
        """Of what shapes clips: packs and commits are named by it, so that a change cuts anew."""
        shaping = self.unit_frame.shaping | {"cut": CUT_VERSION, "codec": CODEC_VERSION}
        shaping |= {source.kind: source.shaping for source in self.unit_sources if source.shaping}
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:12]


def load_config(path: Path, overrides: Sequence[str] = ()) -> BuildConfig:
    """Read and check a build's config; `overrides` are `key=value` of `--set`.

    Raises:
        UserError: one line that names the file, the key and what would be right.
    """
    return load_settings(BuildConfig, path, overrides)
