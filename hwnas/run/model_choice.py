"""Which model file a folder means: that of a run, or one of several that a run was exported to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hwnas.backends.model_facts import READERS
from hwnas.errors import InputError
from hwnas.run.run_folder import RunFolder

_PRECISION = re.compile(r"-(fp16|int8)$")
_LISTED = 9


def model_in(path: Path, *, form: str = "", precision: str = "", command: str = "hwnas predict") -> Path:
    """The model file of a folder, or the path itself where it is none.

    A run means its own model, whatever else its folder holds. Any other folder means the only model file in it.

    Args:
        form, precision: of the file, such as `onnx` and `int8`; '' is any.
        command: that takes a file in place of the folder, for hints.

    Raises:
        InputError: no file is such, or several are.
    """
    if not path.is_dir():
        return _one(path, [path], form, precision, command)
    own = RunFolder(path)
    there = [own.exported] if own.exported.is_file() and own.result.exists() else _models(path)
    if not there:
        there = [file for folder in sorted(path.iterdir()) if _of_files(folder) for file in _models(folder)]
        if not there:
            return own.exported  # whoever reads it says that it is missing
    return _one(path, there, form, precision, command)


def _one(path: Path, there: Sequence[Path], form: str, precision: str, command: str) -> Path:
    """The only file of that format and precision."""
    found = [one for one in there if form in ("", one.suffix[1:]) and precision in ("", _precision(one))]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(str(one.relative_to(path)) for one in there[:_LISTED] if one != path) or path.name
    more = f", and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    if found:
        raise InputError(
            f"{path} holds several models: {listed}{more}",
            hint=f"name one, as in {command} {found[0]}"
            + (", or choose it by --format and --precision" if command == "hwnas predict" else ""),
        )
    asked = " ".join(filter(None, (precision, form and f".{form}")))
    raise InputError(f"{path} holds no {asked} model, but {listed}{more}", hint="leave out --format and --precision")


def _models(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.suffix in READERS and one.is_file())


def _of_files(folder: Path) -> bool:
    """Whether models for users may lie there: not in what a run keeps for itself."""
    return folder.is_dir() and folder.name != "state" and not folder.name.startswith(".")


def _precision(file: Path) -> str:
    """By its name, as hwnas names it."""
    found = _PRECISION.search(file.stem)
    return found[1] if found else "fp32"
