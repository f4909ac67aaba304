"""The contents of the page of a run with several budgets or devices."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from hwnas.report import plots
from hwnas.report.answer import Comparison, comparisons
from hwnas.report.classes import metric_name
from hwnas.report.filters import place_of
from hwnas.report.latency_marks import latency_marks
from hwnas.report.points import points_of
from hwnas.report.run_files import RunFiles, number, read_candidates, read_result
from hwnas.report.untrained import is_untrained, never_predicted_text


def content(files: RunFiles) -> dict[str, Any]:
    """By the names that its template uses.

    Raises:
        InputError: `result.json` is missing or damaged.
    """
    result = read_result(files)
    parts = [one for one in result["front"] if isinstance(one, dict)]
    metric = metric_name(parts[0] if parts else result)
    points, marks, budgets = [], [], []
    for one in parts:
        folder = str(one.get("folder"))
        points += points_of(one, _candidates(files, folder), "", folder)
        marks += latency_marks(one, [], [], folder)
        if (budget_ms := number(one, "budget_ms")) is not None:
            budgets.append(plots.Budget(budget_ms, place_of(one)))
    points = list(dict.fromkeys(points))
    answers: dict[Comparison, list[str]] = {}
    for one in parts:
        for said in comparisons(one):
            answers.setdefault(said, []).append(str(one.get("folder")))
    return {
        "result": result,
        "metric": metric,
        "answers": [(", ".join(names), said) for said, names in answers.items()],
        "points": points,
        "plot": plots.accuracy_plot(points, budgets, metric),
        "predicted_chart": plots.predicted_plot([], marks),
        "never_predicted": [(one.get("folder"), never_predicted_text(one)) for one in parts],
        "untrained": any(map(is_untrained, parts)),
        "places": list(dict.fromkeys(filter(None, map(place_of, parts)))),
    }


def _candidates(files: RunFiles, folder: str) -> list[tuple[str, float, float]]:
    """Of one part; its folder is in that of the run, whatever a file says."""
    if folder != PurePath(folder).name or folder in ("", ".", ".."):
        return []
    return read_candidates(files.path / folder / files.evaluated.name)[0]
