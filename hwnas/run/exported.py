"""The model of a finished run, and what it was to keep: for whoever measures it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hwnas.config import Target, load_configuration
from hwnas.errors import InputError
from hwnas.files import real_path
from hwnas.report.run_files import number, read_result
from hwnas.run.run_folder import RunFolder
from hwnas.run.run_marker import is_run


@dataclass(frozen=True)
class ExportedModel:
    """A model file with the budget in milliseconds that the run had for it, and the device and runtime it was made
    for."""

    path: Path
    budget_ms: float | None
    target: Target


def exported_model(path: Path) -> ExportedModel | None:
    """What a run exported into a folder; None of a path that is no folder of a run.

    Raises:
        InputError: the run is not finished, or has several models.
    """
    try:
        if not path.is_dir() or not (is_run(path) or (path / "result.json").exists()):
            return None
    except OSError:  # a name that is too long; whoever reads the file says so
        return None
    folder = RunFolder(path)
    result = read_result(folder)
    if isinstance(front := result.get("front"), list):
        parts = [part.path for part in map(folder.part, _folders(front)) if part.exported.is_file()]
        first = f": hwnas verify {parts[0]}" if parts else ""
        raise InputError(
            f"{path} has a model for each of {len(front)} budgets or devices", hint=f"name the folder of one{first}"
        )
    own = next((one for one in (folder.config, path.parent / folder.config.name) if one.is_file()), folder.config)
    config, part = load_configuration(own), real_path(path).name
    target = config.at(part) if config.target.targets and part in config.parts else config.target
    return ExportedModel(folder.exported, number(result, "budget_ms"), target)


def _folders(front: list[object]) -> list[str]:
    """Of the results for each budget."""
    return [str(one["folder"]) for one in front if isinstance(one, dict) and "folder" in one]
