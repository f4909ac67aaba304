"""The networks that a run evaluated, each with its latency, its score and how both are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hwnas.report.chart import Mark
from hwnas.report.filters import binomial, percent
from hwnas.report.filters import ms as ms_text
from hwnas.report.run_files import number

MOST_CANDIDATES = 500
"""That a page draws: those of the front, and the best of the others."""

_VALIDATION = "validation images"

Candidate = tuple[str, float, float]
"""Choices, predicted milliseconds and validation score, 0 to 1."""


@dataclass(frozen=True)
class Point:
    """A network.

    Attributes:
        name: for people.
        kind: as the shapes of `chart`.
        ms, share: latency, and score from 0 to 1; `ms_bounds` and `interval` their error where it is known.
        measured: whether the latency was measured; else it is predicted.
        part: of the images, that the score is of: test or validation.
    """

    name: str
    kind: str
    ms: float
    share: float
    measured: bool
    part: str
    ms_bounds: tuple[float | None, float | None] = (None, None)
    interval: tuple[float, float] | None = None

    @property
    def latency_text(self) -> str:
        """The latency with its bounds."""
        low, high = self.ms_bounds
        bounds = [f"at least {ms_text(low)}"] * (low is not None) + [f"at most {ms_text(high)}"] * (high is not None)
        return f"{ms_text(self.ms)} ms {'measured' if self.measured else 'predicted'}" + (
            f" ({', '.join(bounds)})" if bounds else ""
        )

    @property
    def score_text(self) -> str:
        """The score with its interval."""
        around = "" if self.interval is None else f" ({percent(self.interval[0])} to {percent(self.interval[1])})"
        return f"{percent(self.share)} of {self.part}{around}"

    @property
    def mark(self) -> Mark:
        """Milliseconds across, percent up."""
        low, high = self.ms_bounds
        across = None if low is None and high is None else (low or self.ms, high or self.ms)
        up = None if self.interval is None else (100 * self.interval[0], 100 * self.interval[1])
        text = f"{self.name}: {self.latency_text}, {self.score_text}"
        return Mark(self.ms, 100 * self.share, self.kind, text, across, up)


def points_of(result: dict[str, Any], candidates: Sequence[Candidate], winner: str, name: str = "") -> list[Point]:
    """The network found, the random one, the whole parent, and the candidates of the search.

    Args:
        result: of one budget, from `result.json`.
        winner: the choices that became the network.
        name: of the network found; several results need one each.
    """
    rival, parent = result.get("baseline_random"), result.get("parent")
    found = [
        _final(result, name or "network found", "found", result),
        _final(rival, f"random, {name}" if name else "random network", "random", result),
        _parent(parent),
    ]
    scored = [
        Point("became the network" if choices == winner else "candidate", "candidate", ms, share, False, _VALIDATION)
        for choices, ms, share in dict.fromkeys(candidates)
        if ms > 0
    ]
    return [one for one in found if one is not None] + _drawn(scored)


def front_of(points: Iterable[Point]) -> list[Point]:
    """Those that no other one beats in both, by latency; of points that are known alike."""
    best, front = -1.0, []
    for one in sorted(points, key=lambda point: (point.ms, -point.share)):
        if one.share > best:
            front.append(one)
            best = one.share
    return front


def _drawn(candidates: list[Point]) -> list[Point]:
    if len(candidates) <= MOST_CANDIDATES:
        return candidates
    front = front_of(candidates)
    rest = sorted(set(candidates) - set(front), key=lambda one: (-one.share, one.ms))
    return [*front, *rest][:MOST_CANDIDATES]


def _final(content: Any, name: str, kind: str, result: dict[str, Any]) -> Point | None:
    """The network found or the random one: as a file on the device where it was measured."""
    share = number(content, "score", "test") if kind == "found" else number(content, "score")
    accuracy = number(content, "accuracy", "test") if kind == "found" else number(content, "accuracy")
    share = accuracy if share is None else share
    judged = number(content, "measured_ms", "judged")
    measured = number(content, "measured_ms", "median") if judged is None else judged
    latency = number(content, "predicted_ms") if measured is None else measured
    if latency is None or share is None or latency <= 0:
        return None
    bounds = content["measured_ms"].get("bounds") if measured is not None else None
    low, high = bounds if isinstance(bounds, list) and len(bounds) == 2 else (None, None)
    interval = binomial(share, number(result, "accuracy", "test_images")) if share == accuracy else None
    return Point(name, kind, latency, share, measured is not None, "test images", (number(low), number(high)), interval)


def _parent(parent: Any) -> Point | None:
    latency, share = number(parent, "predicted_ms"), number(parent, "head", "score")
    if latency is None or share is None or latency <= 0:
        return None
    interval = (
        binomial(share, number(parent, "head", "images")) if share == number(parent, "head", "accuracy") else None
    )
    return Point(f"all of {parent.get('name')}", "parent", latency, share, False, _VALIDATION, interval=interval)
