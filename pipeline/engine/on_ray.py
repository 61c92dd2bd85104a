"""The engine on Ray Core: as many units at once as there is room for, here or on a cluster.

A unit is one Ray task, and the task only watches: the work is done in a `Child` of the Ray worker, the
same kind of process that `OneChild` uses. So a unit that dies or hangs takes nothing of Ray along, and
its last words and its exit code come back as its outcome. What the task itself does not survive (the
node is gone, Ray's memory monitor struck) is `Lost`: it says nothing of the unit.

Bytes go through storage; units and results, a few kB, go through Ray. Ray retries nothing by itself:
the ledger decides. Why tasks and not Ray Data: a dataset's fan-out and its poison break Ray Data's
retries (ray-project/ray#62746, #65473), and it costs 8 ms of driver CPU a task.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.engine import Lost, NotYet, Outcome, Part, Work
from pipeline.engine.child import Child
from pipeline.engine.places import Places
from pipeline.scratch import private_folder

T = TypeVar("T")
R = TypeVar("R")

_NAMESPACE = "genieset"

# So many units share a core while they wait for the network. Equal shares: slivers of a core that fit
# no task would stand idle for ever (ray-project/ray#63513).
_NETWORK_PER_CORE = 4

_LOOK_EVERY_S = 1.0
_LOOK_AT_NODES_EVERY_S = 5.0

# A watcher that has not answered after so many deadlines of its unit's first part hangs itself.
_BACKSTOP_DEADLINES = 10


class RayEngine:
    """Runs units as Ray tasks.

    Args:
        temporary: a folder for the locks of places; by default this user's on each node.
    """

    def __init__(self, temporary: Path | None = None) -> None:
        self._temporary = temporary

    def run(
        self,
        function: Work[T, R],
        units: Iterable[T | NotYet],
        first: Callable[[T], Part],
        *,
        alone: bool = False,
    ) -> Iterator[tuple[T, Outcome[R]]]:
        """See `Engine.run`."""
        waiting = iter(units)
        flight: _Flight[T, R] = _Flight(function, first, self._temporary, alone=alone)
        more, next_s = True, 0.0
        try:
            while more or flight.units:
                if not more or time.monotonic() < next_s or not flight.has_room():
                    yield from flight.landed(next_s if more else 0.0)
                    continue
                unit = next(waiting, _END)
                if unit is _END:
                    more = False
                elif isinstance(unit, NotYet):
                    next_s = time.monotonic() + unit.wait_s
                else:
                    flight.begin(cast("T", unit))
        finally:
            flight.cancel()


_END = object()


@dataclass(frozen=True)
class _Flown(Generic[T]):
    unit: T
    cores: float
    node: str | None
    cancel_s: float


class _Flight(Generic[T, R]):
    """The units that Ray has been given and that have not ended."""

    def __init__(
        self, function: Work[T, R], first: Callable[[T], Part], temporary: Path | None, *, alone: bool
    ) -> None:
        self._function = function
        self._first = first
        self._temporary = temporary
        self._alone = alone
        self._cluster = _Cluster()
        self.units: dict[Any, _Flown[T]] = {}

    def has_room(self) -> bool:
        """As many units wait as are at work: those that wait tell an autoscaler to bring more nodes."""
        nodes = self._cluster.nodes()
        if self._alone:
            return len(self.units) < max(1, len(nodes))
        return sum(flown.cores for flown in self.units.values()) < 2 * max(1.0, sum(nodes.values()))

    def begin(self, unit: T) -> None:
        """Hand a unit to Ray."""
        part = self._first(unit)
        cores = 1 / _NETWORK_PER_CORE if part.side == "network" else 1.0
        node: str | None = None
        where: Any = "DEFAULT"
        if self._alone:
            taken = {flown.node for flown in self.units.values()}
            free = {name: has for name, has in self._cluster.nodes().items() if name not in taken}
            if free:
                node, cores = next(iter(free.items()))
                where = NodeAffinitySchedulingStrategy(node, soft=False)
        task = _watch.options(
            num_cpus=cores, num_gpus=1 if part.side == "gpu" else 0, scheduling_strategy=where
        )
        cancel_s = time.monotonic() + _BACKSTOP_DEADLINES * part.deadline_s
        ref = task.remote(pickle.dumps((self._function, unit, part)), self._temporary)
        self.units[ref] = _Flown(unit, cores, node, cancel_s)

    def landed(self, until_s: float) -> Iterator[tuple[T, Outcome[R]]]:
        """The units that have ended; waits for one a little, and no longer than until there is more to do."""
        pause_s = _LOOK_EVERY_S
        if until_s > time.monotonic():
            pause_s = min(pause_s, until_s - time.monotonic())
        if not self.units:
            time.sleep(pause_s)
            return
        refs = list(self.units)
        ended, others = ray.wait(refs, timeout=pause_s, fetch_local=False)
        if others:
            also, others = ray.wait(others, num_returns=len(others), timeout=0, fetch_local=False)
            ended += also
        now_s = time.monotonic()
        for ref in others:
            if now_s > self.units[ref].cancel_s:
                ray.cancel(ref, force=True)
        for ref in ended:
            yield self.units.pop(ref).unit, _outcome(ref)

    def cancel(self) -> None:
        """Take back what has not ended."""
        for ref in self.units:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(ref, force=True)


class _Cluster:
    """The living nodes that take work, looked at anew from time to time: they come and go."""

    def __init__(self) -> None:
        self._looked_s = -_LOOK_AT_NODES_EVERY_S
        self._nodes: dict[str, float] = {}

    def nodes(self) -> dict[str, float]:
        """Node -> its cores."""
        if time.monotonic() - self._looked_s >= _LOOK_AT_NODES_EVERY_S:
            alive = [node for node in _list_nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
            self._nodes = {node["NodeID"]: node["Resources"]["CPU"] for node in alive}
            self._looked_s = time.monotonic()
        return self._nodes


_list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes


def _outcome(ref: Any) -> Any:
    try:
        return pickle.loads(ray.get(ref))  # noqa: S301 - from a task of our own
    except ray.exceptions.RayError as error:
        # Also what the watcher itself raised: its node is full, or has no processes left.
        return Lost(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


@ray.remote(max_retries=0)
def _watch(call: bytes, temporary: Path | None) -> bytes:
    """Do one unit in this worker's child; runs on the node that Ray chose."""
    function, unit, first = pickle.loads(call)  # noqa: S301 - from the driver of this run
    stay = _places(temporary).stay()
    return pickle.dumps(_child(os.environ.get("CUDA_VISIBLE_DEVICES", "")).call(function, unit, first, stay))


@functools.cache
def _places(temporary: Path | None) -> Places:
    here = ray.get_runtime_context().get_node_id()
    cores = next(node["Resources"].get("CPU", 1) for node in _list_nodes() if node["NodeID"] == here)
    # Several nodes may share a machine.
    folder = (temporary or private_folder("places")) / here
    folder.mkdir(exist_ok=True)
    return Places(folder, max(1, int(cores)))


@functools.lru_cache(maxsize=1)
def _child(devices: str) -> Child:  # noqa: ARG001 - a child sees the devices it was started with
    threading.Thread(target=_follow_raylet_into_death, daemon=True).start()
    return Child()


def _follow_raylet_into_death() -> None:
    """A worker whose raylet was killed would go on with its unit for minutes; what it starts follows it."""
    raylet = os.getppid()
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(raylet)], [], [])
    os._exit(1)
