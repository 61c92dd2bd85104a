"""The trained classifier of a build: where it lies, and what its rule is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from filters.classifier.artifact import is_classifier_id, read_card
from pipeline.config import CLASSIFIER_RULE, BuildConfig, classifier_location
from shards.errors import SettingError, UserError
from shards.store import Store


def check_classifier(config: BuildConfig) -> None:
    """Whether the classifier that the config names is there and whole, as far as its card tells.

    Raises:
        SettingError: it is not.
    """
    if config.classifier_location is not None:
        try:
            read_card(config.classifier_location)
        except UserError as error:
            raise SettingError("classifier", str(error)) from None


def resolve_rules(config: BuildConfig) -> Mapping[str, str]:
    """The rules, with the SQL of the classifier's card in place of `classifier`.

    Raises:
        SettingError: a rule asks for a classifier, and none is named, it is not there or has no rule.
    """
    rules = dict(config.curate.rules)
    for name, predicate in rules.items():
        if predicate.strip() != CLASSIFIER_RULE:
            continue
        if config.classifier_location is None:
            raise SettingError(
                f"curate.rules.{name}",
                "is `classifier`, and no classifier is named; train one with `genieset classifier train`, "
                "then set classifier: to its id",
            )
        check_classifier(config)
        rule = read_card(config.classifier_location).rule
        if rule is None:
            raise SettingError(
                f"curate.rules.{name}",
                "the classifier has no rule, since none reached what was asked of its training; write a rule "
                "on quality and quality_confidence, or label more clips",
            )
        rules[name] = rule.sql
    return rules


def find_classifier(store: Store, place: str) -> str:
    """The folder of a classifier, given as a build's config gives it: an id, or a path.

    Raises:
        UserError: the path does not end in a classifier's id.
    """
    if not is_classifier_id(Path(place).name):
        raise UserError(
            f"classifier {place}: is none; give the id of one in {store.url}/classifiers, "
            "or the path of its folder, which is named by its id"
        )
    return classifier_location(store.everywhere, place)
