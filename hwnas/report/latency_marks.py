"""The networks of a run whose latency is both predicted and measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hwnas.report.chart import Mark
from hwnas.report.filters import ms
from hwnas.report.points import Candidate
from hwnas.report.run_files import number


def latency_marks(
    result: dict[str, Any], candidates: Sequence[Candidate], events: Iterable[dict[str, Any]], name: str = ""
) -> list[Mark]:
    """Predicted milliseconds across, measured ones up: of the networks that were checked, of the random one and of the
    one that was found, which comes last.

    Args:
        candidates: tell the predictions of the networks whose checks are in the log.
        name: of the network found; several results need one each.
    """
    predicted = {choices: predicted_ms for choices, predicted_ms, _ in candidates}
    found: list[Mark | None] = []
    for event in events:
        choices = event.get("choices")
        if event.get("event") == "check" and isinstance(choices, list):
            before_ms = predicted.get("-".join(map(str, choices)))
            verdict = event.get("verdict")
            measured_ms = number(verdict, "judged_ms")
            measured_ms = number(verdict, "median_ms") if measured_ms is None else measured_ms
            found.append(_mark("checked before its training", "check", before_ms, measured_ms))
    rival = result.get("baseline_random")
    for content, own, kind in (
        (rival, f"random, {name}" if name else "random network", "random"),
        (result, name or "network found", "found"),
    ):
        judged = number(content, "measured_ms", "judged")
        measured_ms = number(content, "measured_ms", "median") if judged is None else judged
        found.append(_mark(own, kind, number(content, "predicted_ms"), measured_ms))
    return [one for one in found if one is not None]


def _mark(name: str, kind: str, predicted_ms: float | None, measured_ms: float | None) -> Mark | None:
    if predicted_ms is None or measured_ms is None or min(predicted_ms, measured_ms) <= 0:
        return None
    off = 100 * (measured_ms / predicted_ms - 1)
    text = f"{name}: predicted {ms(predicted_ms)} ms, measured {ms(measured_ms)} ms, {off:+.1f} %"
    return Mark(predicted_ms, measured_ms, kind, text)
