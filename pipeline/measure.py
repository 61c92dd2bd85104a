"""Measure packs that were cut earlier with scorers that have not seen them: new ones, or changed ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from filters.base import score_names, scorer_folder
from pipeline.engine import Done, Engine, Part, Refused, run_through_losses
from pipeline.ingest import MeasureUnit, measure_pack, score_name
from pipeline.ledger import Ingested
from pipeline.progress import Progress
from shards.errors import UserError
from shards.store import Store

_MIN_DEADLINE_S = 1800.0

# A large model of image features takes a few seconds a clip on one core.
_DEADLINE_PER_CLIP_S = 30.0


def measure_missing(
    store: Store,
    ingested: Iterable[Ingested],
    scorers: Sequence[str],
    engine: Engine,
    progress: Progress,
    device: str = "cpu",
) -> int:
    """Measure each pack with those of the scorers that have not seen it; returns how many packs were.

    Args:
        device: where scorers with a model work, if they can there. A unit on `cuda` asks the engine for a
            GPU of its own.

    Raises:
        UserError: a scorer cannot be made.
    """
    units, clips = [], {}
    there = {name for scorer in scorers for name in store.list(scorer_folder(scorer))}
    for entry in ingested:
        clips[entry.pack] = entry.clips
        missing = tuple(scorer for scorer in scorers if score_name(scorer, entry.pack) not in there)
        if missing:
            units.append(MeasureUnit(store.everywhere, entry.pack, missing, device))

    def whole(unit: MeasureUnit) -> Part:
        deadline_s = max(_MIN_DEADLINE_S, _DEADLINE_PER_CLIP_S * clips[unit.pack])
        return Part(deadline_s, "gpu" if unit.device.startswith("cuda") else "cpu")

    for number, (unit, outcome) in enumerate(run_through_losses(engine, measure_pack, units, whole), 1):
        if isinstance(outcome, Refused):
            raise UserError(outcome.message)
        if not isinstance(outcome, Done):
            raise RuntimeError(f"measuring {unit.pack} with {', '.join(unit.scorers)}: {outcome}")
        progress.step("measure", number, len(units), unit.pack)
    return len(units)


def read_scores(store: Store, packs: Iterable[str], scorers: Iterable[str]) -> dict[str, dict[str, float]]:
    """Clip -> score -> value, of all clips of these packs.

    Raises:
        UserError: a pack was not measured by one of the scorers.
    """
    found: dict[str, dict[str, float]] = {}
    for pack, scorer in product(packs, scorers):
        name = score_name(scorer, pack)
        if not store.exists(name):
            raise UserError(f"{store.where(name)}: is missing; `genieset ingest` measures it")
        for row in store.read_table(name).to_pylist():
            found.setdefault(row["key"], {}).update({score: row[score] for score in score_names(scorer)})
    return found
