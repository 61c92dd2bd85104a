"""A build's config: what to build, checked whole before anything is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ByteSize, Field, ValidationInfo, field_validator

from filters.base import scorer_names, wide_scorers
from filters.classifier.artifact import is_classifier_id
from filters.titles import TitleRules
from pipeline.budget import DEFAULT_SITE, SiteSettings
from pipeline.cut import CUT_VERSION
from pipeline.frame import FrameSettings
from pipeline.opt_out import OptOut
from pipeline.sources.base import Source, source_kinds
from shards.codec import CODEC_VERSION
from shards.settings import Block, load_settings
from shards.store import Store

QUALITY = "quality"
"""The scorer that a classifier is measured with."""

CLASSIFIER_RULE = "classifier"
"""What a rule says to mean the rule on the classifier's card."""

FIRST_OF_GROUP = "first_of_group"
"""In place of a rule's predicate: of each group of near-duplicates, one clip fulfils it."""

SHARE_RULES = {place: f"max_share_{place}" for place in ("video", "channel")}
"""A place of `curate.max_share` -> what clips are dropped as that are over it."""

_SUM_TOLERANCE = 1e-9

# Where the videos are from, how politely they are asked for, and who does not want that.
_SHAPES_NO_BYTES = {"dataset", "sources", "sites", "opt_out"}

if TYPE_CHECKING:
    AnySource = Source
else:
    # The kinds that were found make up the type, so that each one's settings are checked as its own.
    AnySource = Annotated[reduce(or_, source_kinds().values()), Field(discriminator="kind")]


Share = Annotated[float, Field(gt=0, le=1)]


class MaxShare(Block):
    """How much of all kept clips may be from one place; what is over is dropped as `max_share_<place>`.

    Attributes:
        video: from one video, 0.02 for a fiftieth.
        channel: from one channel; a video whose channel is not known counts as one of its own.
    """

    video: Share | None = None
    channel: Share | None = None


class CurateSettings(Block):
    """Which clips are kept, and which split each goes to.

    Attributes:
        rules: name -> an SQL predicate on scores that a kept clip fulfils, tried in order; or
            `first_of_group`, which of near-duplicates only one fulfils.
        prefer: which of near-duplicates that is: an SQL ORDER BY, the best first, on the clips' columns
            and their video's `width` and `height`; where it leaves two equal, the key decides.
        max_share: how much of what is kept may be from one video or channel, after the rules.
        splits: name -> share of the videos; the shares sum to 1.
        seed: of the order in which clips fill the shards, and of which ones are over a share.
    """

    rules: dict[str, str] = Field(default_factory=dict)
    prefer: tuple[str, ...] = ("width * height DESC", "unique_frames DESC", "size DESC")
    max_share: MaxShare = MaxShare()
    splits: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=lambda: {"train": 0.98, "val": 0.02}
    )
    seed: int = 0

    @field_validator("rules")
    @classmethod
    def _not_a_share(cls, rules: dict[str, str]) -> dict[str, str]:
        for name in rules:
            if name in SHARE_RULES.values():
                raise ValueError(f"{name!r} is for clips over a max_share; name it otherwise")
        return rules

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
        classifier: a trained one, which measures `quality` with the scorers: the id of one that lies in
            the dataset, or the path of its folder. The rule `classifier` is the one of its card.
    """

    dataset: str = Field(min_length=1)
    sources: tuple[AnySource, ...] = Field(min_length=1)
    sites: dict[str, SiteSettings] = Field(default_factory=dict)
    opt_out: OptOut = OptOut()
    titles: TitleRules | None = None
    frame: FrameSettings = FrameSettings()
    scorers: tuple[str, ...] = ("motion", "cuts")
    classifier: str | None = None
    curate: CurateSettings = CurateSettings()
    shards: ShardSettings = ShardSettings()

    @field_validator("scorers")
    @classmethod
    def _known_scorers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name == QUALITY:
                raise ValueError(
                    f"{name!r} needs a trained classifier; name it with the key classifier instead"
                )
            if name not in scorer_names():
                raise ValueError(f"there is no scorer {name!r}; there are {', '.join(scorer_names())}")
        if len(set(names)) < len(names):
            raise ValueError("a scorer is named twice")
        return names

    @field_validator("classifier")
    @classmethod
    def _named_by_its_id(cls, place: str | None) -> str | None:
        if place is None or is_classifier_id(place):
            return place
        if not is_classifier_id(Path(place).name):
            raise ValueError(
                f"{place!r} is no classifier; give its id, 12 of 0 to 9 and a to f, or the path of its "
                "folder, which is named by its id"
            )
        return Store(place).everywhere

    @field_validator("curate")
    @classmethod
    def _has_fingerprints(cls, curate: CurateSettings, info: ValidationInfo) -> CurateSettings:
        for name, predicate in curate.rules.items():
            if predicate == FIRST_OF_GROUP and "fingerprint" not in info.data.get("scorers", ()):
                raise ValueError(
                    f"rule {name} is {FIRST_OF_GROUP}, which needs fingerprints; add fingerprint to scorers"
                )
        return curate

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
    def measured(self) -> tuple[str, ...]:
        """What measures the clips: the scorers, and the classifier."""
        location = self.classifier_location
        return self.scorers if location is None else (*self.scorers, f"{QUALITY}@{location}")

    @property
    def classifier_location(self) -> str | None:
        """The folder of the classifier, the same for every process; None if none is named."""
        if self.classifier is None:
            return None
        return classifier_location(Store(self.dataset).everywhere, self.classifier)

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
        if self.curate.max_share == MaxShare():
            del recipe["curate"]["max_share"]
        # Which it is, not where it lies; and a build without one is as before there were any.
        del recipe["classifier"]
        if self.classifier is not None:
            recipe["classifier"] = Path(self.classifier).name
        return recipe

    @property
    def settings_hash(self) -> str:
        """Of what shapes clips: packs and commits are named by it, so that a change cuts anew."""
        shaping = self.unit_frame.shaping | {"cut": CUT_VERSION, "codec": CODEC_VERSION}
        shaping |= {source.kind: source.shaping for source in self.unit_sources if source.shaping}
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:12]


def classifier_location(dataset: str, place: str) -> str:
    """The folder of a classifier, given by its id, which lies in the dataset, or by its path."""
    return f"{dataset}/classifiers/{place}" if is_classifier_id(place) else Store(place).everywhere


def load_config(path: Path, overrides: Sequence[str] = ()) -> BuildConfig:
    """Read and check a build's config; `overrides` are `key=value` of `--set`.

    Raises:
        UserError: one line that names the file, the key and what would be right.
    """
    return load_settings(BuildConfig, path, overrides)
