"""Settings from a YAML file: checked once, at the door, with an error line a person can act on.

Every block of a configuration is a `Block`; `load_settings` turns a file and the command's
`--set key=value` overrides into one. Whatever is wrong becomes a `UserError` of one line:

    <file>: <dotted key>: <what is wrong>; <what would be right>
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from shards.errors import UserError


class Block(BaseModel):
    """A block of a configuration: immutable, and an unknown key is an error.

    Values are converted where nothing is lost: YAML 1.1 reads `3e-4` as text, and a number it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_key(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise PydanticCustomError(
                        "unknown_key",
                        "{key}: no such key; {hint}",
                        {"key": str(key), "hint": _nearest(str(key), cls.model_fields)},
                    )
        return data


B = TypeVar("B", bound=Block)


def load_settings(model: type[B], path: Path, overrides: Sequence[str] = ()) -> B:
    """Read a YAML file as a `model`.

    Args:
        overrides: `a.b=value` each, the value in YAML; a number steps into a list
            (`sources.0.max_videos=3`). They are applied in turn, before anything is checked.

    Raises:
        UserError: there is no such file, it is not a YAML mapping, an override leads nowhere, or
            the result is not a valid `model`.
    """
    settings = _read_mapping(path)
    places = [(_apply(settings, override), f"--set {override}") for override in overrides]
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        key, message = _explain(error.errors()[0], settings)
        # An override is to blame for what it set, whatever the file says.
        sources = [name for place, name in places if f"{key}.".startswith(f"{place}.")]
        raise UserError(
            ": ".join(filter(None, (sources[-1] if sources else str(path), key, message)))
        ) from None


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the path of a YAML file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text; a YAML file in UTF-8 is needed") from None
    except (yaml.YAMLError, ValueError) as error:  # a date that does not exist is a ValueError
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise UserError(f"{path}: not YAML{place} ({problem}); check indentation and quotes there") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: is {_describe(settings)}; a mapping of `key: value` lines is needed")
    return settings


def _apply(settings: dict[str, Any], override: str) -> str:
    """Set one value in place; returns the dotted key it was set at."""
    place, equals, text = override.partition("=")
    place = place.strip()
    parts = place.split(".")
    if not equals or not all(parts):
        raise UserError(f"--set {override}: not an override; write --set key=value, or a.b=value")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        raise UserError(
            f"--set {override}: {text!r} is not YAML; quote it, as in {place}='\"text\"'"
        ) from None
    target: Any = settings
    for number, part in enumerate(parts):
        here = ".".join(parts[:number])
        key: Any = part
        if isinstance(target, list):
            if not part.isdecimal() or int(part) >= len(target):
                raise UserError(
                    f"--set {override}: {here} is a list of {len(target)}; give an item's number from 0"
                )
            key = int(part)
        elif not isinstance(target, dict):
            raise UserError(f"--set {override}: {here} is {_describe(target)}; it has no keys of its own")
        if number == len(parts) - 1:
            target[key] = value
        else:
            if isinstance(target, dict) and target.get(key) is None:
                target[key] = {}
            target = target[key]
    return place


def _explain(error: ErrorDetails, settings: dict[str, Any]) -> tuple[str, str]:
    """The dotted key and the message of a validation error."""
    # Of the location, what leads through the user's own text: pydantic adds the names of union members.
    parts: list[str] = []
    target: Any = settings
    for step in error["loc"]:
        if step in _keys(target):
            target = target[step]
        elif not (error["type"] == "missing" and step == error["loc"][-1]):
            continue
        parts.append(str(step))
    message = error["msg"]
    match error["type"]:
        case "unknown_key":
            key, message = message.split(": ", 1)
            parts.append(key)
        case "missing":
            message = "missing; this key is required"
        case "value_error" | "assertion_error":
            message = message.partition(", ")[2]
        case _:
            should = message.replace("Input should be", "should be", 1)
            message = f"is {_describe(error['input'])}; {should}"
    return ".".join(parts), " ".join(message.split())


def _keys(value: Any) -> Container[Any]:
    match value:
        case dict():
            return value
        case list():
            return range(len(value))
        case _:
            return ()


def _nearest(key: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def _describe(value: object) -> str:
    match value:
        case None:
            return "empty"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return repr(value)
