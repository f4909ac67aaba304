"""What is said of a budget that was met on a busy device."""

from __future__ import annotations

_MUCH = 0.5
"""The share of rejected rounds from which that takes a word."""


def in_spite_text(rejected: float | None) -> str:
    """That a budget was met although so many rounds, 0 to 1, were disturbed, in a sentence; empty where few were."""
    if rejected is None or rejected < _MUCH:
        return ""
    return (
        f"Other work disturbed {rejected:.0%} of the rounds; that only ever slows a call, so the model keeps its "
        "budget all the same."
    )
