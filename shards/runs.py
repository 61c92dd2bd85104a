"""Who is at work on a dataset: a small object for each run, there from its start to its end.

Builds do not mind each other. Garbage collection and builds do: what a build has written, and not named in
a version yet, looks like garbage. Forgetting minds everybody who writes, itself too: whoever began before
would write down again what it had read of a video. Each announces itself first and looks for the others
then, so of two that begin at once none goes on or one does, and never both.

A run that is killed leaves its object behind. On its own machine it is known to be dead; elsewhere it is
taken for dead when it has not been heard of for an hour. A run that lives tells so every few minutes,
whatever it is busy with; one that was taken for dead all the same, since its machine slept, finds its
object gone and publishes nothing.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from platform import node
from typing import Literal, get_args

from shards.errors import UserError
from shards.store import Store

Writing = Literal["export", "label", "classifier", "verify"]
Work = Literal["build", "gc", "forget"] | Writing

SILENT_S = 3600.0
"""A run that was not heard of for so long is dead."""

_FOLDER = "runs"
_BEAT_S = 300.0
_WAITED_S = 10.0  # for a beat that is under way when the run ends
_WRITERS: tuple[Writing, ...] = get_args(Writing)
_NOT_BESIDE: dict[Work, tuple[Work, ...]] = {
    "build": ("gc", "forget"),
    "gc": ("build", "forget"),
    "forget": ("build", "gc", "forget", *_WRITERS),
    **dict.fromkeys(_WRITERS, ("forget",)),
}
_KNOWN_AS: dict[str, str] = {"build": "a build"} | {
    work: f"genieset {work}" for work in ("gc", "forget", *_WRITERS)
}
_NAME = re.compile(rf"{_FOLDER}/({'|'.join(_KNOWN_AS)})-\d+-[0-9a-f]{{8}}\.json")
_START_TICKS = 19  # of the fields of /proc/<pid>/stat after the name: proc(5), field 22


@dataclass(frozen=True)
class Told:
    """What a run says of itself.

    Attributes:
        work: what it does.
        machine: this boot of its machine, and what its process numbers are counted in.
        host: what the machine is called.
        pid: of its process.
        started: when that began, in ticks of the machine.
        begun: when the run did, in seconds of Unix time.
        at: when it was last heard of, likewise.
    """

    work: str
    machine: str
    host: str
    pid: int
    started: str | None
    begun: float
    at: float


class Announcement:
    """The object of a run that is at work; a thread keeps it fresh until `end`."""

    def __init__(self, store: Store, work: Work, beat_s: float = _BEAT_S) -> None:
        self._store = store
        self._beat_s = beat_s
        self.name = f"{_FOLDER}/{work}-{os.getpid()}-{os.urandom(4).hex()}.json"
        now = time.time()
        pid = os.getpid()
        self._told = Told(work, _machine(), node(), pid, _started(pid), now, now)
        self._checked = now
        self._put()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="at-work", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Say that the run lives on; its thread does every few minutes."""
        # Who was taken for dead does not come back.
        if not self._ended.is_set() and self._store.exists(self.name):
            self._told = replace(self._told, at=time.time())
            self._put()

    def check(self, *, known_s: float = 0.0) -> None:
        """Be sure that nobody took this run for dead, and what it has written for garbage.

        Args:
            known_s: for so long what was found before is taken to hold.

        Raises:
            UserError: somebody did.
        """
        now = time.time()
        if now - self._checked < known_s:
            return
        self._checked = now
        if not self._store.exists(self.name):
            raise UserError(
                f"dataset {self._store.url}: this run was not heard of for an hour and taken for dead, so "
                "what it wrote may have been removed; run the same command again"
            )

    def end(self) -> None:
        """The run is at work no more."""
        self._ended.set()
        self._thread.join(_WAITED_S)
        self._store.remove(self.name)

    def _live(self) -> None:
        while not self._ended.wait(self._beat_s):
            # A store that does not answer now is asked again later.
            with suppress(UserError, OSError):
                self.beat()

    def _put(self) -> None:
        self._store.put(self.name, json.dumps(asdict(self._told), sort_keys=True).encode() + b"\n")


@contextmanager
def announce(store: Store, work: Work, *, beat_s: float = _BEAT_S) -> Iterator[Announcement]:
    """Be known to be at work on a dataset.

    Args:
        beat_s: how often the run says that it lives.

    Raises:
        UserError: something is at work there that this does not go together with; or nobody can tell.
    """
    mine = Announcement(store, work, beat_s)
    with _minding_others(store, work, mine):
        yield mine


@contextmanager
def writing(store: Store, work: Writing) -> Iterator[None]:
    """Be known to write down again what was read of a dataset, so that none of it is forgotten meanwhile.

    Where there is no dataset, none is begun. One that cannot be written to can be verified.

    Raises:
        UserError: something is being forgotten; or nobody can tell.
    """
    mine = None
    try:
        if store.folders(""):
            mine = Announcement(store, work)
    except (UserError, OSError):
        if work != "verify":
            raise
    with _minding_others(store, work, mine) if mine else nullcontext():
        yield


@contextmanager
def _minding_others(store: Store, work: Work, mine: Announcement) -> Iterator[None]:
    try:
        for name, told in living(store).items():
            if told.work in _NOT_BESIDE[work] and name != mine.name:
                raise UserError(f"dataset {store.url}: {_described(store, name, told)}")
        yield
    finally:
        mine.end()


def living(store: Store) -> dict[str, Told]:
    """The runs that are at work, by their objects; those of runs known to be dead are removed.

    Raises:
        UserError: one of the objects cannot be read.
    """
    found = {}
    for name in store.list(_FOLDER):
        named = _NAME.fullmatch(name)
        if not named:
            continue  # a person's, or of a release that knows more
        try:
            told = _parse(named[1], store.read(name))
            at = max(told.at, store.modified_s(name))
        except FileNotFoundError:
            continue  # it has just ended
        except (ValueError, KeyError, TypeError, OverflowError):
            raise UserError(
                f"{store.where(name)}: cannot be read; if nothing is at work on the dataset, delete it"
            ) from None
        if _is_dead(told, at):
            store.remove(name)
        else:
            found[name] = told
    return found


def _parse(work: str, data: bytes) -> Told:
    body = json.loads(data)
    told = Told(
        work=work,
        machine=str(body["machine"]),
        host=str(body.get("host", "another machine")),
        pid=int(body["pid"]),
        started=body["started"],
        begun=float(body.get("begun", body["at"])),
        at=float(body["at"]),
    )
    datetime.fromtimestamp(told.begun, UTC)  # it is told of
    return told


def _described(store: Store, name: str, told: Told) -> str:
    """Who is in the way, and what becomes of that."""
    begun = datetime.fromtimestamp(told.begun, UTC).isoformat(timespec="seconds")
    heard_min = max(time.time() - told.at, 0) / 60
    return (
        f"{_KNOWN_AS[told.work]} is at work there (process {told.pid} on {told.host}, since {begun}, heard "
        f"of {heard_min:.0f} min ago); wait for its end, or if it is dead, delete {store.where(name)}"
    )


def _is_dead(told: Told, at: float) -> bool:
    if told.machine == _machine():
        return _started(told.pid) != told.started
    return time.time() - at > SILENT_S


def _machine() -> str:
    """This boot of this machine, and what its process numbers are counted in."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _started(pid: int) -> str | None:
    """When a process began, in ticks of the machine, since numbers are used again; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None
    return stat.rpartition(")")[2].split()[_START_TICKS]
