"""What a stream goes on from, and what is held against it: a few integers and a hash.

A setting that is no integer is told by a hash of its own, cut down to an integer, so that the one that
differs can be named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from shards.errors import UserError

StreamState = dict[str, int | str]
"""The settings of a stream's order as integers, a hash of them all, and the next step."""


def as_state(settings: Mapping[str, object]) -> StreamState:
    """The state of a stream, less its step.

    Args:
        settings: everything that shapes the batches, by the names that their user knows.
    """
    told: StreamState = {
        name: value if isinstance(value, int) else _as_integer(value) for name, value in settings.items()
    }
    return told | {"order": _sha256(settings)}


def check_state(state: Mapping[str, int | str], current: StreamState, settings: Mapping[str, object]) -> None:
    """Refuse the state of a stream whose steps are other batches than these.

    Raises:
        UserError: the line names the first setting that differs.
    """
    if not isinstance(state, Mapping) or not state.keys() >= current.keys():
        raise UserError(f"{state!r} is no state of a stream of this release; give what `state_dict` returned")
    for name, value in current.items():
        if state[name] == value:
            continue
        if name == "order":
            raise UserError("order: the state to be resumed was changed since `state_dict` returned it")
        given = settings[name]
        if isinstance(given, int):
            differ = f"had {name} {state.get(name)}, this one has {given}"
        else:
            shown = f": {given}" if isinstance(given, str) else ""
            differ = f"had another {_MEANT.get(name, name)} than this one{shown}"
        raise UserError(
            f"{name}: the stream to be resumed {differ}; set it back, start a new stream, or allow the change"
        )


_MEANT = {
    "content": "content of its version",
    "selection": "selection of clips by the same `where`",
    "release": "release's order of windows",
}


def step_of(state: Mapping[str, int | str]) -> int:
    """The step that a state goes on at.

    Raises:
        UserError: it names none.
    """
    if not isinstance(state, Mapping):
        raise UserError(f"step: {state!r} is no state of a stream; give what `state_dict` returned")
    step = state.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise UserError(f"step: the state to be resumed has {step!r}; a whole number from 0 on is needed")
    return step


def _as_integer(value: object) -> int:
    # 53 bits: what a double, and so every JSON reader, holds exactly.
    return int(_sha256(value)[:13], 16)


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
