"""Several budgets from one search: what they led to side by side, as JSON and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib import style
from matplotlib.figure import Figure

from hwnas.errors import InputError
from hwnas.files import read_json, write_bytes
from hwnas.run.report import ACCENT, BUDGET, STYLE, decorate, environment, number, svg
from hwnas.run.run_folder import RunFolder

_SHARED = ("range_ms", "device", "condition", "runtime", "precision", "data", "space", "strategy", "seed")


def front_of(folders: Sequence[str], results: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """What the `result.json` over several budgets holds.

    Args:
        folders, results: of each budget, the tightest first.
        seconds: that all of it took.
    """
    states = [result["budget_met"] for result in results]
    return {
        "front": [{"folder": name} | result for name, result in zip(folders, results, strict=True)],
        "budget_met": False if False in states else None if None in states else True,
        **{name: results[0][name] for name in _SHARED},
        "seconds": round(seconds, 1),
    }


def is_front(folder: RunFolder) -> bool:
    """Whether a finished run has several budgets."""
    try:
        result = read_json(folder.result)
    except InputError:
        return False
    return isinstance(result, dict) and isinstance(result.get("front"), list)


def write_front(folder: RunFolder) -> None:
    """Write the `report.html` of a finished run with several budgets; each of them has a page of its own.

    Raises:
        InputError: `result.json` is missing or damaged.
        StorageError: the page cannot be written.
    """
    result = read_json(folder.result)
    page = (
        environment()
        .get_template("front.html.j2")
        .render(name=folder.path.resolve().name, result=result, plot=_plot(result["front"]))
    )
    write_bytes(folder.report, page.encode("utf-8", "replace"))


def _plot(front: Sequence[dict[str, Any]]) -> Markup | None:
    """Test accuracy against the median on the device, or against the prediction where nothing was measured."""
    measured = all(number(one, "measured_ms", "median") is not None for one in front)
    latency = ("measured_ms", "median") if measured else ("predicted_ms",)
    points = ((number(one, *latency), number(one, "accuracy", "test")) for one in front)
    known = [(ms, 100 * share) for ms, share in points if ms is not None and share is not None]
    budgets_ms = [budget for one in front if (budget := number(one, "budget_ms")) is not None]
    if not known:
        return None
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(5.0, 3.5), layout="constrained")
        label = "measured" if measured else "predicted"
        axes = figure.add_subplot(xlabel=f"{label} latency, ms", ylabel="test accuracy, %")
        for index, budget_ms in enumerate(budgets_ms):
            axes.axvline(budget_ms, color=BUDGET, linestyle="--", linewidth=1.4, label="" if index else "budgets")
        axes.plot([one[0] for one in known], [one[1] for one in known], marker="D", markersize=7, color=ACCENT)
        decorate(figure, [axes])
        return svg(figure, "Test accuracy against latency, one network for each budget", "front")
