"""The first question that a run answers: is the network better than others by more than the error?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hwnas.report.filters import percent
from hwnas.report.run_files import number

_Z = 1.959964  # of 95 %


@dataclass(frozen=True)
class Comparison:
    """With one other network.

    Attributes:
        outcome: better, worse or even; even where the images do not tell.
        text: a sentence.
    """

    outcome: str
    text: str


def comparisons(result: dict[str, Any]) -> list[Comparison]:
    """With the random network, on the test images, and with the whole parent, on the validation images.

    Accuracies are compared, as those alone have an exact error.
    """
    rival, parent = result.get("baseline_random"), result.get("parent")
    test_images, parent_images = number(result, "accuracy", "test_images"), number(parent, "head", "images")
    as_fast = isinstance(rival, dict) and rival.get("matched") is True
    random = "the random network" + " that is as fast" * as_fast
    name = parent.get("name") if isinstance(parent, dict) else None
    found = [
        compared(random, number(result, "accuracy", "test"), number(rival, "accuracy"), test_images, "test"),
        compared(
            f"all of {name} with a new head", number(result, "accuracy", "val"), number(parent, "head", "accuracy"),
            parent_images, "validation",
        ),
    ]  # fmt: skip
    return [one for one in found if one is not None]


def compared(other: str, own: float | None, its: float | None, images: float | None, part: str) -> Comparison | None:
    """Two accuracies, 0 to 1, on as many images; None where one is not known."""
    if own is None or its is None or images is None or images < 1 or not (0 <= own <= 1 and 0 <= its <= 1):
        return None
    low, high = difference_interval(own, images, its, images)
    facts = f"{percent(own)} against {percent(its)} of {images:,.0f} {part} images"
    error = f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}".replace("-", "−")
    points = f"{abs(100 * (own - its)):.1f} points"
    if low > 0:
        return Comparison("better", f"Better than {other} by more than the error: {facts}, {points} more ({error}).")
    if high < 0:
        return Comparison("worse", f"Worse than {other} by more than the error: {facts}, {points} less ({error}).")
    more = "as many" if own == its else f"{points} {'more' if own > its else 'less'}"
    return Comparison("even", f"Not better than {other} by more than the error: {facts}, {more} ({error}).")


def difference_interval(own: float, own_n: float, other: float, other_n: float) -> tuple[float, float]:
    """The 95 % interval of own - other, shares of so many images, by method 10 of Newcombe (1998).

    It takes the two for independent. On the same images the true error is smaller, so it claims less than it could.
    """
    (low1, high1), (low2, high2) = _wilson(own, own_n), _wilson(other, other_n)
    below = math.hypot(own - low1, high2 - other)
    above = math.hypot(high1 - own, other - low2)
    return own - other - below, own - other + above


def _wilson(share: float, n: float) -> tuple[float, float]:
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return middle - half, middle + half
