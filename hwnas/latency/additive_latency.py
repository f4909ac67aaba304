"""The latency of an architecture as a sum over decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.arch.groups import Groups
from hwnas.errors import InputError
from hwnas.latency.model import LatencyModel


@dataclass(frozen=True)
class AdditiveLatency(LatencyModel):
    """`latency = intercept_ms + slope · (fixed_ms + Σ_d costs_ms[d][choice_d])`: additive, so exact to optimise over.

    Attributes:
        costs_ms: raw row sum of every option of every decision; slots that share a decision are summed.
        fixed_ms: raw row sum of what is not chosen (stem, head, classifier).
        slope, intercept_ms: the affine fitted on whole measured networks; slope > 0, so budgets map back to raw sums.
        sigma: standard deviation of measured / predicted - 1 on networks that took no part in the fit.
        groups: of the space; its architectures are the choices that keep to them.
    """

    costs_ms: tuple[tuple[float, ...], ...]
    fixed_ms: float
    slope: float = 1.0
    intercept_ms: float = 0.0
    sigma: float = 0.0
    groups: Groups = ()

    def __post_init__(self) -> None:
        if self.slope <= 0:
            raise InputError(f"a calibration must increase with the raw sum, so its slope cannot be {self.slope:g}")

    def restricted(self, kept: Sequence[Sequence[int]]) -> AdditiveLatency:
        """The model of `SlotSpace.restricted(kept)`."""
        rows = zip(self.costs_ms, kept, strict=True)
        return replace(
            self,
            costs_ms=tuple(tuple(row[option] for option in options) for row, options in rows),
            groups=tuple(group.restricted(kept) for group in self.groups),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @cached_property
    def costs(self) -> AdditiveCosts:
        return AdditiveCosts(self.costs_ms, self.groups, self.fixed_ms)
