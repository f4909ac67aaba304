"""Tasks: JSON goes into a function of some module, and JSON comes out. Every executor computes them by what is here."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas import errors
from hwnas.errors import HwnasError
from hwnas.schema import json_as

SETTINGS = "shared.json"

JSON = dict[str, Any]


@dataclass(frozen=True)
class Common:
    """What all tasks of an executor share.

    Attributes:
        settings: JSON text.
        arrays: by name, read only.
    """

    settings: str
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def read(cls, folder: Path) -> Common:
        """From `shared.json` and the .npy files of a folder, which are mapped into memory."""
        arrays = {path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in sorted(folder.glob("*.npy"))}
        return cls((folder / SETTINGS).read_text(encoding="utf-8"), arrays)


Function = Callable[[Common, JSON], JSON]


@dataclass(frozen=True)
class Work:
    """The kind of tasks that an executor computes.

    Attributes:
        function: `module:name` of a `Function`. All chance in it comes from the task, so that equal tasks have equal
            results wherever they are computed, and however often.
        folder: of what they share, as for `Common`.
        doing: of one task, for messages, such as "a network was trained".
        threads: CPU threads that a task takes.
        gpus: GPUs that a task takes, 0 to 1; a cluster gives each task its own.
    """

    function: str
    folder: Path
    doing: str
    threads: int = 1
    gpus: float = 0.0


@dataclass(frozen=True)
class Answer:
    """The result of a task, or what went wrong, by the name of the error, its message and its hint."""

    result: JSON = field(default_factory=dict)
    kind: str = ""
    error: str = ""
    hint: str = ""


def function_at(name: str) -> Function:
    """The function that `module:name` names."""
    module, _, attribute = name.partition(":")
    found: Function = getattr(importlib.import_module(module), attribute)
    return found


def answer(function: Function, common: Common, task: str) -> str:
    """Compute one task, where a worker is.

    Args:
        task: JSON text.

    Returns:
        JSON text for `result_of`; an `HwnasError` goes into it, everything else is raised.
    """
    try:
        said = Answer(function(common, json.loads(task)))
    except HwnasError as error:
        said = Answer(kind=type(error).__name__, error=str(error), hint=error.hint)
    return json.dumps(asdict(said), allow_nan=False)


def result_of(said: str, doing: str) -> JSON:
    """The result in what `answer` gave, where the task was asked for.

    Raises:
        HwnasError: as the function did, with `doing` before its message.
    """
    found = json_as(said, Answer, "the answer of a worker", hint="report it, with the line")
    if not found.kind:
        return found.result
    raise _class(found.kind)(f"while {doing}: {found.error}", hint=found.hint)


def _class(name: str) -> type[HwnasError]:
    """The class of an error that takes a message and a hint, and no more."""
    kind: type[HwnasError] = getattr(errors, name, HwnasError)
    return next(one for one in kind.__mro__ if one is HwnasError or "__init__" not in vars(one))
