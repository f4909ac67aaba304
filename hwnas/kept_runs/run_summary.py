"""One run in a few facts: how far it came, how to go on with it, and its results."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hwnas.errors import InputError
from hwnas.kept_runs.kept_result import KeptResult, left_out, read_kept
from hwnas.kept_runs.last_stage import last_stage
from hwnas.locks import free
from hwnas.report.run_files import asked, optional
from hwnas.run import run_marker
from hwnas.run.run_folder import RunFolder
from hwnas.schema import read_json

State = Literal["finished", "running", "unfinished", "damaged"]

LARGEST_CONFIG = 1 << 20
"""Bytes; those of runs have a thousand."""


@dataclass(frozen=True)
class RunSummary:
    """A run as `hwnas runs list` tells of it; nothing but small files is read, and none is believed unchecked.

    Attributes:
        run: its folder.
        state: `running` where a process works in it.
        data: what it was given.
        budget: as it was asked for, such as `50%` or `pi4:50ms host:5ms`; '' where that cannot be read.
        changed_at: when its result was written or, without one, its log; UTC, ISO 8601.
        results: one, or one for each budget and device; none unless it is finished.
        note: why it is damaged, where it stopped, or which devices were left out; '' where all is well.
        next: the command that goes on with it; '' where there is none.
    """

    run: Path
    state: State
    data: str
    budget: str
    changed_at: str
    results: tuple[KeptResult, ...] = ()
    note: str = ""
    next: str = ""

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "run": str(self.run),
            "state": self.state,
            "data": self.data,
            "budget": self.budget,
            "changed_at": self.changed_at,
            "note": self.note or None,
            "next": self.next or None,
            "results": [asdict(one) for one in self.results],
        }


def run_summary(path: Path) -> RunSummary:
    """The facts of a run, whatever is in its folder.

    Raises:
        InputError: the folder is no run of hwnas.
    """
    check_run(path)
    try:
        return _summary(path)
    except OSError as error:
        facts = {"run": path, "data": "", "budget": ""}
        return _damaged(RunFolder(path), f"cannot read {error.filename}: {error.strerror}", facts)


def _summary(path: Path) -> RunSummary:
    folder = RunFolder(path)
    options = configured(folder)
    facts: dict[str, Any] = {"run": path, "data": str(options.get("data.source", "")), "budget": _budget(options)}
    if not folder.result.is_file():
        return _unfinished(folder, options, facts)
    try:
        content, results = read_kept(folder.result)
        absent = left_out(content, folder.result)
        lost = _lost(folder, results)
    except InputError as error:
        return _damaged(folder, str(error), facts)
    if lost:
        return _damaged(folder, lost, facts)
    data = facts["data"] or results[0].data
    note = "; ".join(f"{one.target} is left out: {one.error}" for one in absent)
    resume = _resume(folder, options) if absent else ""
    return RunSummary(path, "finished", data, facts["budget"], _changed_at(folder.result), results, note, resume)


def check_run(path: Path) -> None:
    """Refuse a folder that is no run.

    Raises:
        InputError: it is none.
    """
    if not is_run(path):
        raise InputError(
            f"{path} is no run of hwnas: it has no {run_marker.NAME}",
            hint="name the folder of a run; hwnas runs list FOLDER tells those in a folder",
        )


def is_run(path: Path) -> bool:
    """Whether hwnas made the folder for a run; a configuration that is too large for one is none."""
    try:
        return (path / run_marker.NAME).is_file() or (_is_small(path / "config.toml") and run_marker.is_run(path))
    except (OSError, ValueError):
        return False


def configured(folder: RunFolder) -> dict[str, Any]:
    """The options of a run by their places, such as `search.lr`; empty where its configuration cannot be read."""
    return optional(asked, folder.config) if _is_small(folder.config) else {}


def _is_small(path: Path) -> bool:
    try:
        return path.stat().st_size <= LARGEST_CONFIG
    except (OSError, ValueError):
        return False


def _budget(options: Mapping[str, Any]) -> str:
    targets = options.get("target.targets")
    if isinstance(targets, list) and targets:
        return " ".join(map(str, targets))
    return str(options.get("target.budget", ""))


def _unfinished(folder: RunFolder, options: Mapping[str, Any], facts: Mapping[str, Any]) -> RunSummary:
    at = _changed_at(folder.log_file if folder.log_file.is_file() else folder.marker)
    stage = last_stage(folder)
    if _at_work(folder):
        return RunSummary(**facts, state="running", changed_at=at, note=stage)
    return RunSummary(**facts, state="unfinished", changed_at=at, note=stage, next=_resume(folder, options))


def _damaged(folder: RunFolder, reason: str, facts: Mapping[str, Any]) -> RunSummary:
    return RunSummary(**facts, state="damaged", changed_at=_changed_at(folder.result), note=reason)


def _at_work(folder: RunFolder) -> bool:
    """Whether a process holds the lock; one that is no empty file is not tried, as that would empty it."""
    lock = folder.state / "lock"
    plain = not folder.state.is_symlink() and not lock.is_symlink() and lock.is_file() and lock.stat().st_size == 0
    return plain and not free(lock)


def _lost(folder: RunFolder, results: tuple[KeptResult, ...]) -> str:
    """A shipped file that is missing, or has another size than the run left it with; '' where there is none."""
    for part in [folder.path / one.folder if one.folder else folder.path for one in results]:
        for name, shipped in run_marker.sealed(part).items():
            path = part / Path(name).name
            if not path.is_file():
                return f"{path} is missing"
            if path.stat().st_size != shipped.bytes:
                return f"{path} was changed since the run ended"
    return ""


def _changed_at(path: Path) -> str:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except (OSError, OverflowError, ValueError):
        return ""


def _resume(folder: RunFolder, options: Mapping[str, Any]) -> str:
    """The command that goes on with a run; '' where its configuration is not there."""
    if not options:
        return ""
    source = optional(read_json, folder.state / "data.json").get("searched_in")
    targets = options.get("target.targets")
    if source and isinstance(source, str):  # it took the search of another run over
        one = f"{options.get('target.device', 'host')}:{options.get('target.budget', '')}"
        named = [word for text in targets or [one] for word in ("--target", str(text))]
        words = ["hwnas", "specialise", source, *named]
    else:
        words = ["hwnas", "search", "--config", str(folder.config)]
    return shlex.join([*words, "--out", str(folder.path), "--resume"])
