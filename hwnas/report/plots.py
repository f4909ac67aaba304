"""The charts of a page."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hwnas.report.chart import Axis, Chart, Mark, legend
from hwnas.report.filters import ms as ms_text
from hwnas.report.filters import percent
from hwnas.report.points import Point, front_of
from hwnas.report.run_files import number

_LEAST_SPAN = 5.0  # percentage points that an axis of scores shows: less would make a difference of noise look large
_KINDS = {
    "found": "found by the search",
    "random": "random, within the budget",
    "parent": "whole pre-trained parent",
    "check": "checked before its training",
    "candidate": "candidate of the search",
}
_MOST_BUDGETS = 6


@dataclass(frozen=True)
class Budget:
    """A limit in milliseconds, and whose it is."""

    ms: float
    name: str = ""

    @property
    def text(self) -> str:
        return f"{self.name} budget {ms_text(self.ms)}".strip()


def accuracy_plot(points: Sequence[Point], budgets: Sequence[Budget], metric: str) -> Markup | None:
    """Score against latency of everything evaluated; None without any.

    Final networks are filled, measured and scored on test images; candidates and the parent are hollow, predicted and
    scored on validation images, with a line through those that no other candidate beats.

    Args:
        metric: what the score is, in words.
    """
    if not points:
        return None
    marks = [one.mark for one in points]
    candidates = [one for one in points if one.kind == "candidate"]
    xs = [one.ms for one in points] + [one.ms for one in budgets[:_MOST_BUDGETS]]
    xs += [value for mark in marks if mark.across for value in mark.across]
    ys = [mark.y for mark in marks] + [value for mark in marks if mark.up for value in mark.up]
    chart = Chart(Axis.around(xs, "latency, ms"), Axis(f"{metric}, %", *score_range(ys)))
    for budget in budgets[:_MOST_BUDGETS]:
        chart.limit(budget.ms, budget.text, along=len(budgets) > 1)
    front = front_of(candidates)
    if len(front) > 1:
        steps = [(front[0].ms, 100 * front[0].share)]
        for before, one in itertools.pairwise(front):
            steps += [(one.ms, 100 * before.share), (one.ms, 100 * one.share)]
        chart.line(steps, "front")
    finals = [one for one in points if one.kind == "found"]
    if len(finals) > 1:
        chart.line([(one.ms, 100 * one.share) for one in sorted(finals, key=lambda point: point.ms)], "through")
    chart.marks(reversed(marks))
    return chart.svg(f"{metric.capitalize()} against latency: {_summary(points)}") + _legend(points)


def predicted_plot(pairs: Sequence[tuple[float, float]], marks: Sequence[Mark]) -> Markup | None:
    """Measured against predicted milliseconds, with the line of no error and 10 % about it; None without any.

    Args:
        pairs: (predicted, measured) of the networks that the table was validated on.
        marks: of the run.
    """
    drawn = [
        Mark(x, y, "candidate", f"validation network: predicted {ms_text(x)} ms, measured {ms_text(y)} ms")
        for x, y in pairs
    ] + list(marks)
    if not drawn:
        return None
    values = [value for one in drawn for value in (one.x, one.y)]
    low, high = 0.85 * min(values), 1.15 * max(values)
    chart = Chart(Axis("predicted latency, ms", low, high), Axis("measured latency, ms", low, high))
    chart.area(
        [(low, low), (low / 0.9, low), (high, 0.9 * high), (high, high), (high / 1.1, high), (low, 1.1 * low)], "within"
    )
    chart.line([(low, low), (high, high)], "same")
    chart.marks(drawn)
    kinds = [kind for kind in _KINDS if any(one.kind == kind for one in drawn)]
    names = _KINDS | {"candidate": "network of the table's validation"}
    worst = max(abs(one.y / one.x - 1.0) for one in drawn)
    said = f"Measured against predicted latency of {len(drawn)} networks; the largest difference is {percent(worst)}"
    return chart.svg(said) + legend((kind, names[kind]) for kind in kinds)


def curves(events: Iterable[dict[str, Any]], budget_ms: float | None) -> list[tuple[Markup, str]]:
    """Charts of the search and the training with their captions: those that the log has numbers for."""
    events = list(events)
    epochs = [one for one in events if one.get("event") == "epoch"]
    trained = [one for one in events if one.get("event") == "trained" and one.get("label") == "train"]
    found = [
        _curve(epochs, "loss", "epoch of the search", "loss", None),
        _curve(epochs, "expected_ms", "epoch of the search", "expected latency, ms", budget_ms),
        _curve(trained, "loss", "epoch of the training", "loss", None),
    ]
    captions = (
        "Loss of the shared weights on the train images, by epoch of the search.",
        "The latency that the strategy expects of its choice, by epoch of the search.",
        "Loss of the network found on the train images, by epoch of its training.",
    )
    return [(chart, text) for chart, text in zip(found, captions, strict=True) if chart is not None]


def _curve(
    events: Iterable[dict[str, Any]], key: str, x_label: str, y_label: str, budget_ms: float | None
) -> Markup | None:
    """One number by epoch; None where no event has it."""
    pairs = ((number(event, "epoch"), number(event, key)) for event in events)
    series = {epoch: value for epoch, value in pairs if epoch is not None and value is not None}
    if not series:
        return None
    points = sorted(series.items())
    limits = [] if budget_ms is None else [budget_ms]
    x = Axis(x_label, points[0][0], max(points[-1][0], points[0][0] + 1), whole=True)
    chart = Chart(x, Axis.around([*series.values(), *limits], y_label))
    for limit in limits:
        chart.limit(limit, f"budget {ms_text(limit)}", level=True)
    chart.line(points, "curve")
    if len(points) == 1:
        chart.marks([Mark(*points[0], "found", f"epoch {points[0][0]:g}: {points[0][1]:.4g}")])
    first, last = points[0][1], points[-1][1]
    return chart.svg(f"{y_label.capitalize()} by {x_label}: from {first:.4g} to {last:.4g}")


def score_range(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis of scores, 0 to 100, around these: no fewer than five points, and no room for what cannot be."""
    low, high = min(values), max(values)
    span = max(high - low, _LEAST_SPAN)
    bottom = min(max(0.0, (low + high - span) / 2), max(0.0, 100.0 - span))
    return bottom - 0.08 * span, bottom + 1.08 * span


def _legend(points: Sequence[Point]) -> Markup:
    present = {one.kind for one in points}
    return legend((kind, text) for kind, text in _KINDS.items() if kind in present)


def _summary(points: Sequence[Point]) -> str:
    """The main points in words, and how many candidates there are."""
    named = [one.mark.text for one in points if one.kind != "candidate"]
    candidates = sum(one.kind == "candidate" for one in points)
    return "; ".join([*named[:8], *([f"{candidates} candidates"] if candidates else [])])
