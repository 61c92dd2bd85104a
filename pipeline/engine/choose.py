"""Which engine: one child process, a Ray of this machine's own, or a cluster."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.engine import Engine
from pipeline.engine.child import OneChild


@contextmanager
def open_engine(jobs: int = 1, ray_address: str | None = None) -> Iterator[Engine]:
    """The engine for `--jobs` and `--ray-address`; what it started ends with it.

    Args:
        jobs: how many units may be cut at once on this machine, >= 1.
        ray_address: `host:port` of a cluster's head, or `auto` on a node of it; `jobs` is of no account then.

    Raises:
        UserError: there is no cluster at the address.
    """
    if ray_address is not None:
        from pipeline.engine.start_ray import cluster_engine

        with cluster_engine(ray_address) as engine:
            yield engine
    elif jobs == 1:
        yield OneChild()
    else:
        _keep_strangers_out()
        from pipeline.engine.start_ray import local_engine

        with local_engine(jobs) as engine:
            yield engine


def _keep_strangers_out() -> None:
    """Nobody else on this machine shall hand our Ray work of theirs; Ray reads this when it is imported."""
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
