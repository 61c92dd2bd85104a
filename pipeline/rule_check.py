"""Whether the rules can be asked at all, found out before anything is fetched.

A rule with a slip in it would otherwise be told of when all is downloaded and cut.
"""

from __future__ import annotations

from pipeline.classifier import resolve_rules
from pipeline.config import BuildConfig
from pipeline.curate import decide, join_scores
from pipeline.first_of_group import FirstOfGroup
from shards.records import CLIP_SCHEMA, VIDEO_SCHEMA
from shards.store import Store


def check_rules(store: Store, config: BuildConfig) -> None:
    """Ask the rules about no clip.

    Raises:
        SettingError: a rule is not SQL, or names a score that no scorer of the config gives.
    """
    rules = resolve_rules(config)
    nothing = join_scores(store, [], config.measured, CLIP_SCHEMA.empty_table())
    videos = VIDEO_SCHEMA.empty_table()
    decide(nothing, rules, FirstOfGroup(store, [], nothing, config.curate, videos))
