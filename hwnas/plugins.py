"""What other packages add to hwnas: the objects behind the entry points of the group `hwnas.plugins`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hwnas.errors import InputError

GROUP = "hwnas.plugins"


@dataclass(frozen=True)
class Plugin:
    """One entry point.

    Attributes:
        name: of the entry point and of the package that has it, for messages.
        things: what it adds.
    """

    name: str
    things: tuple[Any, ...]


@cache
def plugins() -> tuple[Plugin, ...]:
    """All plug-ins that are installed, loaded once and by nobody who does not ask for them.

    An entry point names an object, or a list or tuple of them.

    Raises:
        InputError: one cannot be loaded.
    """
    return tuple(_loaded(entry) for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name))


def _loaded(entry: EntryPoint) -> Plugin:
    package = entry.dist.name if entry.dist is not None else entry.module
    name = f"{entry.name!r} of the package {package}"
    try:
        found = entry.load()
    except Exception as error:  # whatever the package does when it is imported
        raise InputError(
            f"the plug-in {name} could not be loaded from {entry.value}: {type(error).__name__}: {error}",
            hint=f"repair {package}, or uninstall it",
        ) from error
    return Plugin(name, tuple(found) if isinstance(found, list | tuple) else (found,))
