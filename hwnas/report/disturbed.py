"""What is said of a budget that was met on a busy device."""

from __future__ import annotations

MUCH_DISTURBED = 0.5
"""The share of rejected rounds from which that takes a word."""

ONLY_SLOWS = "that only ever slows a call, so the model keeps its budget all the same"
