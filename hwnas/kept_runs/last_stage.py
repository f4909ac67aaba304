"""Where a run stopped, by the end of its log."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hwnas.run.run_folder import RunFolder
from hwnas.run.run_marker import NAME

_TAIL = 1 << 20  # bytes; an epoch has a line of 300
_STAGES = ("data", "measure", "search", "check", "train baseline", "train", "export and verify")


def last_stage(folder: RunFolder) -> str:
    """In words, such as `in search` or `after search`; of several budgets, of the one that was worked on last."""
    found = [
        (at, words) for path in (folder.log_file, *_logs_of_parts(folder.path)) for at, words in [_last(path)] if words
    ]
    if found:
        return max(found)[1]
    return "in a stage that its log does not tell" if folder.log_file.is_file() else "before its first stage"


def _logs_of_parts(path: Path) -> list[Path]:
    try:
        return [part / "log.jsonl" for part in sorted(path.iterdir()) if (part / NAME).is_file()]
    except OSError:
        return []


def _last(path: Path) -> tuple[str, str]:
    """When the last stage of a log began or ended, and its words; both empty where it has none."""
    for line in reversed(_tail(path)):
        entry = _object(line)
        stage, at = entry.get("stage"), entry.get("at")
        if entry.get("event") in ("start", "end") and stage in _STAGES and isinstance(at, str):
            return at, f"{'in' if entry['event'] == 'start' else 'after'} {stage}"
    return "", ""


def _object(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):  # what a full disk or the window cut
        return {}
    return entry if isinstance(entry, dict) else {}


def _tail(path: Path) -> list[str]:
    """The last lines of a regular file."""
    if not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read(_TAIL).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
