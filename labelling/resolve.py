"""Plans that ask for more than the catalog holds: a classifier's threshold, and the qualities it gave."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from filters.classifier.artifact import is_classifier_id, read_card
from labelling.clips import packs_of
from pipeline.build import read_config
from pipeline.classifier import find_classifier
from pipeline.config import QUALITY
from pipeline.curate import join_scores
from shards.errors import UserError
from shards.store import Store

CONFIGURED = "classifier"

EVEN_QUALITY = 0.5
"""Where good and bad are as likely: the threshold of a classifier whose card has no rule."""


def resolve_plan(store: Store, clips: pa.Table, plan: str) -> tuple[pa.Table, str]:
    """The clips with what a plan asks for, and the plan as `labelling.plans.sample` takes it.

    `near:classifier` is near the threshold of the classifier that the dataset was last built with,
    `near:ID` near that of another one; the qualities are those that `genieset classifier apply` measured,
    whether or not a build has used them. Both become `near:quality-ID=THRESHOLD`. Another plan is
    left as it is.

    Args:
        clips: of `labelling.clips.read_catalog`.

    Raises:
        UserError: there is no such classifier, or it has measured none of the clips; or the plan is
            `stratum:game`, and no game is known.
    """
    if plan == "stratum:game" and clips["game"].null_count == len(clips):
        raise UserError(
            f"--plan {plan}: no game is known, since no title holds one of the config's titles.keywords; "
            "name games there, or take stratum:channel"
        )
    kind, _, named = plan.partition(":")
    if kind != "near" or not (named == CONFIGURED or is_classifier_id(Path(named).name)):
        return clips, plan
    place: str | None = named
    if named == CONFIGURED:
        place = read_config(store).classifier
    if place is None:
        raise UserError(
            f"--plan {plan}: the dataset was built without a classifier; name one by its id, as near:ID"
        )
    location = find_classifier(store, place)
    card = read_card(location)
    # What the catalog calls quality may be another classifier's.
    bare = clips.select([name for name in clips.column_names if not name.startswith(QUALITY)])
    scored = join_scores(store, sorted(packs_of(store, clips).values()), (f"{QUALITY}@{location}",), bare)
    if scored[QUALITY].null_count == len(scored):
        raise UserError(
            f"--plan {plan}: classifier {card.id} has measured no clip; "
            f"`genieset classifier apply {store.url} {place}` does"
        )
    threshold = EVEN_QUALITY if card.rule is None else card.rule.quality
    column = f"{QUALITY}-{card.id}"
    return clips.append_column(column, scored[QUALITY]), f"near:{column}={threshold:g}"
