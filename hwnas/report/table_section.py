"""The latency table of a run, as a page tells of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwnas.files import real_path
from hwnas.report.run_files import RunFiles, number, optional
from hwnas.schema import read_json

_MOST_FILES = 64


def table_of(files: RunFiles, result: dict[str, Any]) -> dict[str, Any]:
    """The facts that the run kept of the table behind its result; empty in runs of earlier versions.

    Of several budgets or devices, the folder of all keeps them. The checksum tells which file it is.
    """
    checksum = result.get("table_sha256")
    for state in (files.state, real_path(files.path).parent / "state"):
        for path in sorted(_latencies(state))[:_MOST_FILES]:
            kept = optional(read_json, path)
            table = kept.get("table")
            if isinstance(table, dict) and isinstance(checksum, str) and kept.get("table_sha256") == checksum:
                return table
    return {}


def rows_us(table: dict[str, Any]) -> dict[str, float]:
    """Microseconds by op key."""
    rows = table.get("rows_us")
    found = {key: number(value) for key, value in rows.items()} if isinstance(rows, dict) else {}
    return {key: value for key, value in found.items() if value is not None and value >= 0}


def pairs_of(table: dict[str, Any]) -> list[tuple[float, float]]:
    """(Predicted, measured) milliseconds of the networks of the validation."""
    pairs, found = table.get("pairs"), []
    for pair in pairs if isinstance(pairs, list) else []:
        if isinstance(pair, list) and len(pair) == 2:
            predicted_ms, measured_ms = map(number, pair)
            if predicted_ms is not None and measured_ms is not None and min(predicted_ms, measured_ms) > 0:
                found.append((predicted_ms, measured_ms))
    return found


def facts_of(table: dict[str, Any]) -> dict[str, str]:
    """Origin and error of a table, by label; empty without one."""
    if not table:
        return {}
    times, rows, validation = table.get("measured_at"), table.get("rows_us"), table.get("validation")
    found = {"kind": str(table.get("kind"))}
    if isinstance(rows, dict):
        found["rows of this space"] = f"{len(rows):,}"
    if isinstance(times, list) and times:
        first, last = str(times[0])[:10], str(times[-1])[:10]
        found["measured"] = first if first == last else f"{first} to {last}"
    for label, key, as_text in (
        ("networks that validated it", "n", "{:.0f}"),
        ("mean error on them", "mape", "{:.1%}"),
        ("within 10 %", "within_10", "{:.0%}"),
        ("rank correlation", "spearman", "{:.3f}, Spearman"),
        ("repeatability", "repeatability", "{:.1%}, the same networks measured twice"),
    ):
        if (value := number(validation, key)) is not None:
            found[label] = as_text.format(value)
    if (rejected := number(table, "noise", "rejected")) is not None:
        found["disturbed rounds"] = f"{rejected:.0%}"
    return found


def _latencies(state: Path) -> list[Path]:
    try:
        return [path for path in state.glob("latency*.json") if path.is_file()]
    except OSError:
        return []
