"""How the figures of a classifier are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commands import screen

if TYPE_CHECKING:
    from filters.classifier.compare import Comparison
    from filters.classifier.evaluate import Evaluation, Group
    from filters.classifier.measures import Measured, Predictions
    from filters.classifier.settings import TrainSettings


def target(settings: TrainSettings) -> str:
    """What a rule was to reach."""
    if settings.keep_share is not None:
        return f"keeping {settings.keep_share:g} of the clips"
    return f"precision {settings.target_precision:g}"


def reached(told: Predictions, settings: TrainSettings) -> str:
    """How near the best rule came to a target of precision."""
    from filters.classifier.decide import MIN_KEPT_CLIPS, MIN_KEPT_VIDEOS, surest

    if settings.keep_share is not None:
        return ""
    best = surest(told)
    if best is None:
        return f", and none keeps {MIN_KEPT_CLIPS} labelled clips of {MIN_KEPT_VIDEOS} videos"
    return (
        f": the surest has {best.precision:.3f}, {best.low:.3f} at least, and keeps {best.clips} labelled "
        f"clips of {best.videos} videos"
    )


def print_evaluation(found: Evaluation) -> None:
    """The tables of `genieset classifier eval`."""
    heads = ("clips", "kept", "good kept", "bad kept", "share kept")
    for title, groups in (
        ("by label", found.by_label),
        ("by source", found.by_source),
        ("by video", found.by_video),
    ):
        screen.print_columns(title, heads, {name: _row(group) for name, group in groups.items()})
    rows = {f"{at.predicted:.2f}": [f"{at.observed:.2f}", f"{at.clips:,}"] for at in found.reliability}
    screen.print_columns("said good with", ("were good", "clips"), rows)
    if found.recall is not None:
        screen.print_rows("rule", {"recall": figure(found.recall)})


def _row(group: Group) -> list[str]:
    return [
        f"{group.clips:,}",
        f"{group.kept:,}",
        f"{group.kept_good} of {group.good}",
        f"{group.kept_bad} of {group.bad}",
        figure(group.share),
    ]


def print_comparison(found: Comparison) -> None:
    """The tables of `genieset classifier compare`, and what they come to."""
    title = f"over {found.folds} folds" + (", labels shuffled among the videos" if found.shuffled else "")
    rows = {
        name: [figure(area), figure(found.precision[name]), figure(found.recall[name])]
        for name, area in found.auc.items()
    }
    screen.print_columns(title, ("AUC", "precision of its rule", "recall"), rows)
    if found.differences:
        screen.print_rows(
            "difference of AUC", {f"{a} - {b}": figure(value) for (a, b), value in found.differences.items()}
        )
    said = "there was nothing to learn" if found.shuffled else verdict(found)
    screen.say(f"{found.clips} clips of {found.videos} videos: {said}")


def verdict(found: Comparison) -> str:
    """Who is best, if the differences show it: an interval that holds 0 shows none."""
    best = max(found.auc, key=lambda name: found.auc[name].value or 0.0)
    alike = [
        name if other == best else other
        for (name, other), value in found.differences.items()
        if best in (name, other) and (value.low is None or value.high is None or value.low <= 0 <= value.high)
    ]
    if alike:
        return f"no difference shown between {best} and {', '.join(alike)}"
    return f"{best} tells good from bad best" if found.differences else f"{best} stands alone"


def comparison_json(found: Comparison) -> Any:
    """A comparison as JSON; a pair is named by both."""
    from dataclasses import asdict

    told = {
        f"{name} - {other}": value.model_dump(mode="json")
        for (name, other), value in found.differences.items()
    }
    return as_json(asdict(found) | {"differences": told})


def figure(measured: Measured) -> str:
    """A figure with its interval, if it has one."""
    if measured.value is None:
        return "-"
    if measured.low is None or measured.high is None:
        return f"{measured.value:.3f}"
    return f"{measured.value:.3f} ({measured.low:.3f} to {measured.high:.3f})"


def as_json(value: Any) -> Any:
    """What `asdict` made of a dataclass, with its blocks as dicts too."""
    from pydantic import BaseModel

    if isinstance(value, dict):
        return {name: as_json(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [as_json(entry) for entry in value]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
