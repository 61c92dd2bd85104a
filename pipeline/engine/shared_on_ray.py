"""An object that all runs on one Ray share: it lives in a named actor, and is called from everywhere."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

NAMESPACE = "genieset"
"""Of the names of actors: that of every run of Genieset on a Ray."""


class _Shared:
    """Holds one object; its methods are called one at a time."""

    def __init__(self, make: bytes) -> None:
        self._held = pickle.loads(make)()  # noqa: S301 - from the driver of this run

    def call(self, call: bytes) -> bytes:
        method, arguments, named = pickle.loads(call)  # noqa: S301 - from the driver of a run
        return pickle.dumps(getattr(self._held, method)(*arguments, **named))


class SharedObject:
    """Calls the methods of an object in an actor; one that went down with its node is made anew."""

    def __init__(self, name: str, make: Callable[[], object]) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        options = {"name": name, "namespace": NAMESPACE, "get_if_exists": True, "num_cpus": 0}
        self._actor_class: Any = ray.remote(_Shared).options(**options, scheduling_strategy=here)
        self._make = pickle.dumps(make)
        self._actor: Any = self._actor_class.remote(self._make)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            request = pickle.dumps((method, arguments, named))
            try:
                answer: bytes = ray.get(self._actor.call.remote(request))
            except ray.exceptions.RayActorError:
                self._actor = self._actor_class.remote(self._make)
                answer = ray.get(self._actor.call.remote(request))
            return pickle.loads(answer)  # noqa: S301 - from the actor of a run

        return call
