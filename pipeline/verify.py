"""Verify a dataset on an engine: every shard of a version, the version as a whole, and what is staged.

One shard or pack is one task in a child process, so bytes that hang it, crash it or ask for more memory
than there is become a fault and stop nothing else. Results are a few lines each.

What was found whole is noted beside the dataset, and the notes are thrown away when the run has come to its
end: they let an interrupted run go on, and never vouch for bytes in a later one, since rot changes neither
size nor time of a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.build import CONFIG_NAME, read_config
from pipeline.engine import (
    Died,
    Done,
    Engine,
    Expired,
    Lost,
    Outcome,
    Part,
    Raised,
    Refused,
    run_through_losses,
)
from pipeline.ingest import score_name
from pipeline.memory import at_most_more
from pipeline.progress import Progress
from pipeline.verify_notes import Notes
from shards.catalog import CURATED
from shards.checks.commits import check_commits
from shards.checks.faults import Fault, first_of, guarded
from shards.checks.shard import Expected, ShardSeen, check_shard
from shards.checks.staged import StagedPack, check_pack
from shards.checks.table import check_table
from shards.checks.version import check_version
from shards.checks.whole import check_whole
from shards.commits import commit_journal
from shards.errors import UserError
from shards.index import index_name
from shards.manifest import Version, list_versions
from shards.runs import writing
from shards.store import Store
from shards.verify import Verified, exchanged, expectations

_GIB = 1 << 30

# A shard of 256 MB takes a minute; one that declares a million frames in a clip shall not take for ever.
_MIN_DEADLINE_S = 900.0
_SLOWEST_BYTES_PER_S = 200_000
_WHOLE_DEADLINE_S = 6 * 3600.0

_PARQUET_FOLDERS = ("candidates", "candidates/segments", "attempts/segments")


@dataclass(frozen=True)
class Whole:
    """The version across its shards, and its catalogs."""

    version: Version


@dataclass(frozen=True)
class Tables:
    """Parquet objects that only have to be readable."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Commits:
    """All commits, and whether the catalog of a version says the same."""

    version: Version | None


@dataclass(frozen=True)
class Task:
    """What one process checks at a time."""

    store: str
    what: Expected | StagedPack | Whole | Tables | Commits

    @property
    def name(self) -> str:
        """The object it is about."""
        match self.what:
            case Expected():
                return self.what.entry.name
            case StagedPack():
                return self.what.pack
            case Whole():
                return self.what.version.name
            case Tables():
                return self.what.names[0]
            case Commits():
                return "commits"


@dataclass(frozen=True)
class Report:
    """What `verify_dataset` found.

    Attributes:
        packs: how many were checked.
        noted: shards and packs that an interrupted run had found whole.
    """

    verified: Verified
    packs: int
    noted: int


def check(task: Task) -> ShardSeen:
    """Do a task; nothing that is damaged raises."""
    store = Store(task.store)
    match task.what:
        case Expected():
            # Libraries take their address space before what they read is given a limit.
            import decord  # noqa: F401
            import webdataset.tariterators  # noqa: F401

            with at_most_more(2 * _GIB):
                return check_shard(store, task.what)
        case StagedPack():
            with at_most_more(2 * _GIB):
                return ShardSeen(task.name, faults=tuple(check_pack(store, task.what)))
        case Whole():
            with at_most_more(16 * _GIB):
                return ShardSeen(task.name, faults=tuple(check_whole(store, task.what.version)))
        case Tables():
            with at_most_more(4 * _GIB):
                faults = [
                    fault
                    for name in task.what.names
                    for fault in first_of(name, guarded(name, check_table(store, name)))
                ]
            return ShardSeen(task.name, faults=tuple(faults))
        case Commits():
            with at_most_more(4 * _GIB):
                return ShardSeen(task.name, faults=tuple(check_commits(store, task.what.version)))


def verify_dataset(
    store: Store,
    engine: Engine,
    progress: Progress,
    *,
    number: int | None = None,
    sample: int | None = None,
    staged: bool = True,
    fresh: bool = False,
) -> Report:
    """Check a version, and what later ones are made of.

    Args:
        number: of the version; by default the newest that can be read.
        sample: decode only so many clips, chosen by a hash of their keys.
        staged: whether packs, commits, wide frames and scores are looked at, too.
        fresh: whether what an interrupted run found whole is checked again.

    Raises:
        UserError: nothing is published, or there is no such version.
    """
    with writing(store, "verify"):
        return _verified(store, engine, progress, number, sample, staged=staged, fresh=fresh)


def _verified(
    store: Store,
    engine: Engine,
    progress: Progress,
    number: int | None,
    sample: int | None,
    *,
    staged: bool,
    fresh: bool,
) -> Report:
    version, name, faults = check_version(store, number)
    for older in reversed(list_versions(store)[:-1] if number is None else []):
        if version is None:
            # What one bad object hides is looked at all the same.
            version, name, more = check_version(store, older)
            faults += more
    notes = Notes(store, name, progress)
    if fresh:
        notes.forget()
    seen: list[ShardSeen] = []
    tasks: list[Task] = []
    if version:
        tasks += [Task(store.everywhere, expected) for expected in expectations(version, sample)]
        tasks.append(Task(store.everywhere, Whole(version)))
    if staged:
        faults += [
            f for _, one in _run(engine, [Task(store.everywhere, Commits(version))]) for f in one.faults
        ]
        packs, more = staged_packs(
            store, commits_sound=not any(f.object.startswith("commits") for f in faults)
        )
        faults += more
        tasks += [Task(store.everywhere, what) for what in packs]
        tables = tuple(_tables(store))
        tasks += [Task(store.everywhere, Tables(tables))] if tables else []
    noted = {task.name: notes.seen(task.name, _key(task), _objects(task)) for task in tasks}
    waiting = [task for task in tasks if noted[task.name] is None]
    seen += [one for one in noted.values() if one]
    for task, one in _run(engine, waiting):
        seen.append(one)
        if not one.faults:
            notes.add(one, _key(task), _objects(task))
        progress.step("verify", len(seen), len(tasks), task.name)
    order = {task.name: place for place, task in enumerate(tasks)}
    seen.sort(key=lambda one: order[one.name])
    faults += [fault for one in seen for fault in one.faults]
    faults += exchanged(version, seen) if version else []
    notes.forget()
    verified = Verified(
        version=version.number if version else int(name.removesuffix(".json").rpartition("/")[2]),
        shards=len(version.shards) if version else 0,
        samples=sum(one.samples for one in seen),
        decoded=sum(one.decoded for one in seen),
        faults=tuple(faults),
    )
    n_packs = sum(isinstance(task.what, StagedPack) for task in tasks)
    return Report(verified, n_packs, sum(one is not None for one in noted.values()))


def _run(engine: Engine, tasks: list[Task]) -> Iterator[tuple[Task, ShardSeen]]:
    for task, outcome in run_through_losses(engine, check, tasks, _first):
        yield task, _seen(task, outcome)


def _seen(task: Task, outcome: Outcome[ShardSeen]) -> ShardSeen:
    if isinstance(outcome, Done):
        return outcome.result
    return ShardSeen(task.name, faults=(fault_of(task.name, outcome),))


def fault_of(name: str, outcome: Outcome[Any]) -> Fault:
    """What is wrong with an object when the work on it was not done.

    Raises:
        UserError: the work met something that the user has to mend first.
    """
    match outcome:
        case Refused():
            raise UserError(outcome.message)
        case Died():
            what = f"took the process down that looked at it (exit code {outcome.exit_code})"
        case Expired():
            what = f"could not be checked within {outcome.deadline_s:g} s"
        case Raised():
            what = f"cannot be checked: {outcome.error}"
        case Lost():
            what = f"could not be checked: {outcome.cause}"
        case Done():
            raise ValueError(f"{name}: was done")
    return Fault(name, " ".join(what.split()))


def _first(task: Task) -> Part:
    match task.what:
        case Expected():
            return Part(max(_MIN_DEADLINE_S, min(task.what.entry.bytes, 1 << 40) / _SLOWEST_BYTES_PER_S))
        case StagedPack():
            return Part(max(_MIN_DEADLINE_S, 2.0 * (task.what.clips or 0)))
        case _:
            return Part(_WHOLE_DEADLINE_S)


def _key(task: Task) -> str:
    """What a note holds for: the very same task."""
    return repr(task.what)


def _objects(task: Task) -> tuple[str, ...]:
    """The objects that a task looks at and a note may speak for; none if it may not."""
    match task.what:
        case Expected():
            return (task.name, index_name(task.name))
        case StagedPack():
            return (task.name, index_name(task.name), *task.what.scores)
        case _:
            return ()


def _tables(store: Store) -> Iterator[str]:
    yield from (name for name in CURATED.values() if store.exists(name))
    for folder in _PARQUET_FOLDERS:
        yield from (name for name in store.list(folder) if name.endswith(".parquet"))


def staged_packs(store: Store, *, commits_sound: bool) -> tuple[list[StagedPack], list[Fault]]:
    """Every pack that lies there or should, with what should lie beside it."""
    there = {name for name in store.list("packs") if name.endswith(".tar")}
    faults: list[Fault] = []
    config = None
    if store.exists(CONFIG_NAME):
        try:
            config = read_config(store)
        except UserError as error:
            faults.append(Fault(CONFIG_NAME, str(error).partition(f"{CONFIG_NAME}: ")[2] or str(error)))
    committed: dict[str, dict[str, Any]] = {}
    if commits_sound:
        rows = commit_journal(store).read(["pack", "clips", "settings"])
        committed = {row["pack"]: row for row in rows.to_pylist() if row["pack"]}
    staged = []
    for pack in sorted(there | committed.keys()):
        commit = committed.get(pack)
        wanted = commit is not None and (config is None or commit["settings"] == config.settings_hash)
        if pack not in there and not wanted:
            continue
        scores = tuple(score_name(scorer, pack) for scorer in (config.measured if config else ()))
        staged.append(
            StagedPack(
                pack=pack,
                clips=commit["clips"] if commit else None,
                scores=scores if wanted else tuple(name for name in scores if store.exists(name)),
                wide=bool(wanted and config and config.wide),
            )
        )
    return staged, faults
