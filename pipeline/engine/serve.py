"""The child's side of `pipeline.engine.child`: does what comes through the pipe, one call at a time."""

from __future__ import annotations

import inspect
import os
import pickle
import signal
import sys
import threading
from collections.abc import Generator
from multiprocessing.connection import Connection
from typing import Any, cast

from pipeline.engine import Done
from pipeline.engine.child import raised


def main() -> None:
    """Serve until the parent closes the pipe, or dies."""
    pipe, lifeline = Connection(int(sys.argv[1])), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for descriptor in (pipe.fileno(), lifeline):
        os.set_inheritable(descriptor, False)
    threading.Thread(target=_follow_parent_into_death, args=(lifeline,), daemon=True).start()
    while True:
        try:
            call = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(_answer(call, pipe))


def _answer(call: bytes, pipe: Connection) -> bytes:
    try:
        function, unit = pickle.loads(call)  # noqa: S301 - from the process that started this one
        result: Any = function(unit)
        if inspect.isgenerator(result):
            result = _in_parts(cast("Generator[Any, None, Any]", result), pipe)
        return pickle.dumps(Done(result))
    except Exception as error:
        return pickle.dumps(raised(error))


def _in_parts(work: Generator[Any, None, Any], pipe: Connection) -> Any:
    """Do a unit part by part, each when the parent says so."""
    while True:
        try:
            part = next(work)
        except StopIteration as end:
            return end.value
        pipe.send_bytes(pickle.dumps(part))
        pipe.recv_bytes()


def _follow_parent_into_death(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
