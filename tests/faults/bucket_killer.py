"""Work on a dataset in a bucket that is killed at any of the requests that change it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.index import index_name
from shards.manifest import list_versions, read_version
from shards.store import Store
from shards.verify import verify
from tests.faults.books import faults_in, read_receipt
from tests.faults.killer import Killer, Run
from tests.faults.prefix import Prefix, State
from tests.proxy import Fault, Proxy

Work = Callable[[Killer], Run]
Check = Callable[[], Iterable[str]]

_CHANGING = r"^(PUT|POST|DELETE) "
_OF_CHANCE = re.compile(r"(?<=^runs/).*|(?<=^attempts/).*")


@dataclass(frozen=True)
class Undisturbed:
    """What a piece of work does when nobody kills it.

    Attributes:
        operations: the requests that change something, in order.
        base: what it begins with.
        end: and what it ends with.
    """

    operations: list[str]
    base: State
    end: State


class BucketKiller:
    """A dataset in a bucket, behind a proxy that kills who works on it.

    Args:
        killer: of processes that have the proxy for their server.
        prefix: where the dataset lies.
    """

    def __init__(self, url: str, killer: Killer, proxy: Proxy, prefix: Prefix) -> None:
        self.store = Store(url)
        self.prefix = prefix
        self._killer = killer
        self.proxy = proxy
        self._verified: dict[object, list[str]] = {}

    def run(self, work: Work, kill_at: int = 0) -> tuple[Run, list[str]]:
        """Work, and be killed at the changing request of that number, counted from 1; those it made.

        The server has not seen the last one then: it is held.
        """
        self.proxy.requests.clear()
        self.proxy.faults.clear()
        if kill_at:
            fault = Fault(_CHANGING, "hold", skip=kill_at - 1, strike=self._killer.strike)
            self.proxy.faults.append(fault)
        run = work(self._killer)
        return run, [_operation(request.line) for request in self.proxy.lines(_CHANGING)]

    def undisturbed(self, work: Work) -> Undisturbed:
        """Work on what is there, once."""
        base = self.prefix.state()
        self.prefix.copy(base)
        run, operations = self.run(work)
        assert (run.signal, run.exit_code) == (None, 0)
        end = self.prefix.state()
        self.prefix.copy(end)
        return Undisturbed(operations, base, end)

    def kill_at(
        self, points: Sequence[int], work: Work, undisturbed: Undisturbed, between: Check, end: Check
    ) -> list[str]:
        """Kill the work at requests, each time anew, and let it be done again; what was wrong.

        Of what a process had sent when it was killed, anything from nothing to all may arrive. So once it is
        dead, nothing arrives, then half of the body, then all; the first two must leave what the request
        before had left, which is known if the work was killed there too. Work that begins with the same
        objects does the same, so it is done again once for all kills that leave the same.

        Args:
            points: the numbers of the requests, counted from 1, ascending.
            between: finds faults in what a kill leaves, beside those that `faults` does.
            end: and in what there is when it was done again.
        """
        faults: list[str] = []
        again: dict[object, list[str]] = {}
        left: dict[int, object] = {0: self._told(undisturbed.base)}
        for number in points:
            self.prefix.restore(undisturbed.base)
            found = list(self._kill(work, undisturbed, number, left.get(number - 1)))
            state = self.prefix.state()
            left[number] = told = self._told(state)
            if told not in again:
                again[told] = [*self.faults(state), *between(), *self._again(work, undisturbed, end)]
            operation = undisturbed.operations[number - 1]
            faults += [f"killed at {number} ({operation}): {fault}" for fault in found + again[told]]
        return faults

    def _kill(
        self, work: Work, undisturbed: Undisturbed, number: int, before: object | None
    ) -> Iterator[str]:
        """Kill the work; its last request is done in the end. `before` is what must be there until then."""
        run, operations = self.run(work, number)
        if run.signal != signal.SIGKILL:
            yield f"was not killed: {run}"
        if operations != undisturbed.operations[:number]:
            yield f"came another way: {operations[-3:]}"
        there = self._told(self.prefix.state())
        if before is not None and there != before:
            yield "something was done before the server saw it"
        if not operations[-1].startswith("DELETE"):
            status = self.proxy.deliver(half=True)
            if status < 400 or self._told(self.prefix.state()) != there:
                yield "something was done with half of the body"
        self.proxy.deliver()

    def faults(self, state: State) -> Iterator[str]:
        """What a reader who comes now, when `state` is what is there, would stumble over."""
        yield from faults_in(self.prefix.copy(state))
        for number in list_versions(self.store):
            version = read_version(self.store, number)
            tars = {entry.name for entry in version.shards}
            read = {version.name, *tars, *map(index_name, tars)}
            catalogs = tuple(f"catalog/{kind}/{number:06d}-" for kind in ("videos", "clips"))
            # Of the same bytes the same is true.
            bytes_ = tuple(sorted(i for i in state.items() if i[0] in read or i[0].startswith(catalogs)))
            if bytes_ not in self._verified:
                told = verify(self.store, version).faults
                self._verified[bytes_] = [f"version {number}: {fault}" for fault in told]
            yield from self._verified[bytes_]

    def _again(self, work: Work, undisturbed: Undisturbed, end: Check) -> Iterator[str]:
        run, _ = self.run(work)
        if run.exit_code != 0:
            yield f"again: {run}"
        state = self.prefix.state()
        yield from (f"again: {fault}" for fault in [*self.faults(state), *end()])
        ended, expected = dict(self._told(state)), dict(self._told(undisturbed.end))
        for name in sorted(ended.keys() | expected.keys()):
            if ended.get(name) != expected.get(name):
                yield f"again: {name} differs (there {name in ended}, expected {name in expected})"

    def _told(self, state: State) -> tuple[tuple[str, str], ...]:
        """A state without what tells of time and chance."""
        folder = self.prefix.copy(state)
        return tuple(sorted(_without_chance(folder, name, tag) for name, tag in state.items()))


def _without_chance(folder: Path, name: str, tag: str) -> tuple[str, str]:
    told = repr(read_receipt(folder / name)) if name.startswith("reports/") else tag
    return ("runs/", "") if name.startswith("runs/") else (name, told)


def _operation(line: str) -> str:
    """Method and name of an object; names that tell of time or chance are left out."""
    method, path, _ = line.split(" ")
    name = path.split("/", 3)[3].partition("?")[0]
    return f"{method} {_OF_CHANCE.sub('', name)}"
