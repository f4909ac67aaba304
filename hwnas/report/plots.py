"""The plots of a page."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hwnas.report.filters import ms as ms_text
from hwnas.report.filters import place_of
from hwnas.report.run_files import number
from hwnas.report.svg import ACCENT, BUDGET, INK, LINE, SECOND, THIRD, plot_style, svg

_MARKERS = "DosP^v"
_BUDGET_COLORS, _BUDGET_DASHES = (BUDGET, SECOND, THIRD), ("--", ":", "-.", (0, (1, 3)))
_LEAST_SPAN = 5.0  # percentage points that an axis of scores shows: less would make a difference of noise look large
_INCHES = (4.2, 3.2)
"""Of a figure; a page draws it 360 pixels wide on a phone, so that its letters are 12 pixels high there."""


def candidates_plot(
    rows: Sequence[tuple[str, float, float]], metric: str, winner: str, budget_ms: float | None
) -> Markup | None:
    """Validation score against predicted latency; None without candidates.

    Args:
        rows: choices, predicted milliseconds and score, 0 to 1, of each candidate.
        metric: what the score is, in words.
        winner: the choices that became the network.
    """
    if not rows:
        return None
    with plot_style():
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot(xlabel="predicted latency, ms", ylabel=f"validation {metric}, %")
        looks: dict[str, dict[str, Any]] = {
            "candidate": {"marker": "o", "markersize": 6, "alpha": 0.55},
            "chosen": {"marker": "D", "markersize": 8, "markeredgecolor": INK},
        }
        for label, look in looks.items():
            points = [(ms, 100 * score) for choices, ms, score in rows if (choices == winner) is (label == "chosen")]
            if points:
                axes.plot(*zip(*points, strict=True), linestyle="none", color=ACCENT, label=label, **look)
        if budget_ms is not None:
            axes.axvline(budget_ms, color=BUDGET, linestyle="--", linewidth=1.4, label="budget")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _show_percent(axes, [100 * score for _, _, score in rows])
        _decorate(figure, [axes])
        return svg(figure, f"Candidates: validation {metric} against predicted latency", "candidates")


def epochs_plot(events: Iterable[dict[str, Any]], budget_ms: float | None) -> Markup | None:
    """Loss and expected latency per epoch of the search; None where the log tells neither."""
    epochs = [event for event in events if event.get("event") == "epoch"]
    loss, expected = (_series(epochs, key) for key in ("loss", "expected_ms"))
    curves = [(values, label) for values, label in ((loss, "loss"), (expected, "expected latency, ms")) if values]
    if not curves:
        return None
    with plot_style():
        figure = Figure(figsize=_INCHES, layout="constrained")
        panels = list(figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0])
        for axes, (values, label) in zip(panels, curves, strict=True):
            marker = "o" if len(values) == 1 else ""
            axes.plot(*zip(*sorted(values.items()), strict=True), marker=marker, color=ACCENT, linewidth=1.8)
            axes.set_ylabel(label)
            if values is expected and budget_ms is not None:
                axes.axhline(budget_ms, color=BUDGET, linestyle="--", linewidth=1.4, label="budget")
        panels[-1].set_xlabel("epoch of the search")
        panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _decorate(figure, panels)
        return svg(figure, "The search: loss and expected latency per epoch", "epochs")


def front_plot(front: Sequence[dict[str, Any]], metric: str) -> Markup | None:
    """Test score against the measured latency, or against the predicted one where nothing was measured; of several
    devices a line for each.

    Args:
        metric: what the score is, in words.
    """
    measured = all(number(one, "measured_ms", "median") is not None for one in front)
    judged = "judged" if all(number(one, "measured_ms", "judged") is not None for one in front) else "median"
    latency = ("measured_ms", judged) if measured else ("predicted_ms",)
    known: dict[str, list[tuple[float, float]]] = {}
    for one in front:
        ms, share = number(one, *latency), number(one, _scored(one), "test")
        if ms is not None and share is not None:
            known.setdefault(place_of(one), []).append((ms, 100 * share))
    budgets = {(place_of(one), budget_ms): None for one in front if (budget_ms := number(one, "budget_ms")) is not None}
    if not known:
        return None
    with plot_style():
        figure = Figure(figsize=_INCHES, layout="constrained")
        label = "measured" if measured else "predicted"
        axes = figure.add_subplot(xlabel=f"{label} latency, ms", ylabel=f"test {metric}, %")
        looks = zip(itertools.cycle(_BUDGET_COLORS), itertools.cycle(_BUDGET_DASHES), strict=False)
        for (place, budget_ms), (color, dash) in zip(budgets, looks, strict=False):
            name = f"{place} budget {ms_text(budget_ms)} ms".strip()
            axes.axvline(budget_ms, color=color, linestyle=dash, linewidth=1.4, label=name)
        for (place, points), marker in zip(known.items(), itertools.cycle(_MARKERS), strict=False):
            xs, ys = [one[0] for one in points], [one[1] for one in points]
            axes.plot(xs, ys, marker=marker, markersize=7, color=ACCENT, label=place)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _show_percent(axes, [y for points in known.values() for _, y in points])
        _decorate(figure, [axes])
        return svg(figure, f"Test {metric} against latency, one network for each budget", "front")


def _scored(result: dict[str, Any]) -> str:
    """Where a result has its scores; those of earlier versions are accuracies."""
    return "score" if "score" in result else "accuracy"


def _series(epochs: Iterable[dict[str, Any]], key: str) -> dict[float, float]:
    pairs = ((number(event, "epoch"), number(event, key)) for event in epochs)
    return {epoch: value for epoch, value in pairs if epoch is not None and value is not None}


def _show_percent(axes: Axes, values: Sequence[float]) -> None:
    """An axis of scores around these, 0 to 100, with a few ticks, and no score beyond what there can be."""
    low, high = min(values), max(values)
    span = max(high - low, _LEAST_SPAN)
    bottom = min(max(0.0, (low + high - span) / 2), max(0.0, 100.0 - span))
    axes.set_ylim(bottom - 0.08 * span, bottom + 1.08 * span)
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _decorate(figure: Figure, panels: list[Axes]) -> None:
    """The look that all plots share."""
    for axes in panels:
        axes.patch.set_visible(False)
        axes.tick_params(length=0)
        axes.grid(color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(0.06, 0.08)
    figure.patch.set_visible(False)
    if any(axes.get_legend_handles_labels()[0] for axes in panels):
        figure.legend(loc="outside upper left", ncols=3, frameon=False, borderpad=0, handletextpad=0.5)
