"""What other packages add to hwnas: the objects behind the entry points of the group `hwnas.plugins`."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NoReturn

from hwnas.errors import InputError

GROUP = "hwnas.plugins"
_OWN = re.compile(rf"{re.escape(str(Path(__file__).parent))}\b|<frozen|.*\bimportlib\b")


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
    with contained(f"the plug-in {name} could not be loaded from {entry.value}", f"repair {package}, or uninstall it"):
        found = entry.load()
    return Plugin(name, tuple(found) if isinstance(found, list | tuple) else (found,))


class _Exit(BaseException):
    """In place of the end of the process."""


@contextmanager
def contained(what: str, hint: str, *, passing: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Turn whatever the code of a plug-in raises into one error, the end of the process included; Ctrl-C passes.

    Code that ended the process by `os._exit` raises instead, from this thread or
    another, as long as this lasts.

    Args:
        what: the message; what was raised goes behind it.
        passing: what else passes.

    Raises:
        InputError: the code raised something.
    """
    leave = os._exit

    def instead(status: int) -> NoReturn:
        raise _Exit(f"os._exit({status})")

    through: tuple[type[BaseException], ...] = (KeyboardInterrupt, *passing)
    os._exit = instead
    try:
        yield
    except through:
        raise
    except BaseException as error:
        said = str(error) if isinstance(error, _Exit) else f"{type(error).__name__}: {_text(error)}"
        said += _place(error)
        raise InputError(f"{what}: {said}", hint=hint) from error
    finally:
        os._exit = leave


def _place(error: BaseException) -> str:
    """Where it was raised, among files that are not of this package."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _OWN.match(frame.filename)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _text(error: BaseException) -> str:
    """What an exception says; its class may be broken, too."""
    try:
        return str(error)
    except Exception:
        return "no message"
