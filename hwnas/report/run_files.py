"""The files of a run, as a page reads them: others may have edited them, so nothing is taken for granted."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from hwnas.asked_paths import run_folder
from hwnas.config.read import sections_of
from hwnas.errors import InputError
from hwnas.metric_names import NAMES
from hwnas.report.earlier_results import current
from hwnas.schema import lines_of, read_json


class RunFiles(Protocol):
    """Where a run keeps its files."""

    path: Path
    config: Path
    environment: Path
    log_file: Path
    evaluated: Path
    architecture: Path
    result: Path
    report: Path
    images: Path
    description: Path
    state: Path

    @property
    def mistakes(self) -> Path: ...


def read_result(files: RunFiles) -> dict[str, Any]:
    """`result.json`.

    Raises:
        InputError: it is missing or damaged, or there is no such folder.
    """
    run_folder(files.path)
    try:
        result = read_json(files.result)
    except InputError as error:
        raise InputError(
            f"{files.path} holds no finished run: {error}",
            hint="finish it with the same hwnas search command and --resume, or name another run directory",
        ) from error
    if not isinstance(result, dict):
        raise InputError(
            f"{files.path} holds no finished run: result.json holds a {type(result).__name__}, not an object",
            hint="run the same hwnas search command again with --force",
        )
    return current(result)


def optional(read: Callable[[Path], Any], path: Path) -> dict[str, Any]:
    """The object that a file holds; empty where it cannot be read or holds anything else."""
    try:
        content = read(path)
    except (InputError, OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def asked(path: Path) -> dict[str, Any]:
    """The options of a run by their places, such as `search.lr`."""
    options: dict[str, Any] = {}
    for section, values in sections_of(path).items():
        named = {f".{name}": value for name, value in values.items()} if isinstance(values, dict) else {"": values}
        options |= {f"{section}{name}": value for name, value in named.items()}
    return options


def read_events(path: Path) -> list[dict[str, Any]]:
    """The lines of `log.jsonl` that are JSON objects."""
    events = []
    for line in lines_of(path):
        with suppress(ValueError, RecursionError):
            events.append(json.loads(line))
    return [event for event in events if isinstance(event, dict)]


def number(content: Any, *keys: str) -> float | None:
    """The finite number under `keys` in nested dictionaries, or None."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    if isinstance(content, bool) or not isinstance(content, int | float | str):
        return None
    try:
        value = float(content)
    except (ValueError, OverflowError):
        return None
    return value if abs(value) < 1e18 else None


def read_candidates(path: Path) -> tuple[list[tuple[str, float, float]], str]:
    """Choices, predicted milliseconds and validation score of every candidate, and what the score is, in words."""
    rows, name = [], NAMES["accuracy"]
    with suppress(csv.Error):
        for row in csv.DictReader(lines_of(path)):
            column = "val_score" if "val_score" in row else "val_accuracy"  # in runs of earlier versions
            predicted_ms, score = number(row, "predicted_ms"), number(row, column)
            if predicted_ms is not None and score is not None:
                rows.append((str(row.get("choices")), predicted_ms, score))
                name = NAMES.get(str(row.get("metric")), name)
    return rows, name


def winner(architecture: dict[str, Any]) -> str:
    """Its choices as `evaluated.csv` writes them."""
    choices = architecture.get("choices")
    return "-".join(map(str, choices)) if isinstance(choices, list) else ""


def seconds_of_stages(events: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Seconds per stage; a stage that was repeated counts every time."""
    seconds: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("event") == "end":
            seconds[str(event.get("stage"))] += max(0.0, number(event, "seconds") or 0.0)
    return seconds
