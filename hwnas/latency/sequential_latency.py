"""The latency of an architecture as a sum over the steps of a sequence, where each step depends on those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwnas.arch.choice_costs import SequentialCosts
from hwnas.latency.model import LatencyModel


@dataclass(frozen=True)
class SequentialLatency(LatencyModel):
    """`latency = intercept_ms + slope · Σ rows` of a sequence's ops.

    Attributes:
        sequences: their raw latencies, in milliseconds.
        rows_ms: raw latency of every op of the space, by key.
    """

    sequences: SequentialCosts[Any] = field(compare=False)
    rows_ms: Mapping[str, float]
    slope: float = 1.0
    intercept_ms: float = 0.0
    sigma: float = 0.0
    fixed_ms: float = 0.0

    @property
    def costs(self) -> SequentialCosts[Any]:
        return self.sequences

    def restricted(self, kept: Sequence[Sequence[int]]) -> SequentialLatency:
        """Itself: a step may need any of its options, so no constraint leaves any out."""
        return self

    def to_json(self) -> dict[str, Any]:
        facts = {"slope": self.slope, "intercept_ms": self.intercept_ms, "sigma": self.sigma}
        return {"rows_ms": dict(self.rows_ms), **facts}
