"""What every kind of export has in common; one file here with one subclass of `Export` is a kind."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from functools import cache
from typing import ClassVar

from shards import export
from shards.export.view import View


class Export(ABC):
    """A kind of view, named after its file.

    What it writes holds no time and no place but `View.place`. Titles and whatever else strangers
    wrote stay text in it, whatever they contain.
    """

    kind: ClassVar[str]

    @abstractmethod
    def files(self, view: View) -> dict[str, bytes]:
        """File name -> content."""


@cache
def export_kinds() -> dict[str, type[Export]]:
    """Every kind of export there is, by its name."""
    found: dict[str, type[Export]] = {}
    for module_info in pkgutil.iter_modules(export.__path__):
        module = importlib.import_module(f"shards.export.{module_info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Export) and value is not Export:
                found[value.kind] = value
    return found
