"""What is found to be wrong, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        object: name of the object that is at fault.
        what: one line.
        at: the clip, video, row, column or field that it is about, where there is one.
        start_byte: where in the object the fault lies, if that is known.
        end_byte: the first byte behind it.
    """

    object: str
    what: str
    at: str | None = None
    start_byte: int | None = None
    end_byte: int | None = None

    @property
    def where(self) -> str:
        """Object, part of it and bytes, for a person; the last byte is named, as in HTTP's ranges."""
        parts = [self.object]
        if self.at is not None:
            parts.append(self.at)
        if self.start_byte is not None and self.end_byte is not None:
            last = self.end_byte - 1
            parts.append(
                f"byte {self.start_byte}" if last <= self.start_byte else f"bytes {self.start_byte}-{last}"
            )
        return ", ".join(parts)

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def guarded(name: str, faults: Iterator[Fault]) -> Iterator[Fault]:
    """These faults, and one more if `name` is damaged so that looking at it fails."""
    try:
        yield from faults
    except FileNotFoundError:
        yield Fault(name, "is missing")
    # Readers of damaged bytes raise whatever they stumble over.
    except Exception as error:
        yield Fault(name, f"cannot be read: {told(error)}")


def told(error: Exception) -> str:
    """An exception in one line that is not long."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


_MOST = 20


def first_of(name: str, faults: Iterator[Fault]) -> Iterator[Fault]:
    """The first twenty of one object's faults, and how many there are besides."""
    more = 0
    for number, fault in enumerate(faults):
        if number < _MOST:
            yield fault
        else:
            more += 1
    if more:
        yield Fault(name, f"has {more} faults more of these kinds")
