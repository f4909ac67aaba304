"""`Constraint`: a bound on what an architecture takes, as numbers: a latency, or the size of its file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwnas.arch.choice_costs import ChoiceCosts
from hwnas.latency.model import LatencyModel

_ROUNDING = 1e-12  # as sums that are equal differ by the order of their summands


@dataclass(frozen=True)
class Constraint:
    """`constant + scale · costs(choices) <= target`.

    Attributes:
        unit: of `target`, as names of logged numbers end: `ms` or `kb`.
        costs: of the choices, raw.
        raw_budget: what `costs` may come to, which says the same as `target`.
        target: what an architecture may take, in `unit`; of a size, that is what was asked (`max_size_kb`).
    """

    unit: str
    costs: ChoiceCosts
    raw_budget: float
    target: float
    scale: float = 1.0
    constant: float = 0.0

    def value(self, choices: Sequence[int]) -> float:
        """What an architecture takes, in `unit`; infinite where the choices are none of the space."""
        return self.constant + self.scale * self.costs.cost(choices)

    def keeps(self, choices: Sequence[int]) -> bool:
        """Whether an architecture is within the target; sums that are above it by rounding alone are."""
        cost = self.costs.cost(choices)
        return cost < math.inf and cost <= self.raw_budget + _ROUNDING * max(1.0, abs(self.raw_budget))

    @property
    def lifted(self) -> Constraint:
        """The same costs without a bound."""
        return replace(self, raw_budget=math.inf, target=math.inf)


@dataclass(frozen=True)
class LatencyConstraint(Constraint):
    """A predicted latency of at most `target_ms`.

    Attributes:
        budget_ms: what was asked; the margin of the table leaves `target_ms` of it.
    """

    budget_ms: float = math.inf

    @property
    def target_ms(self) -> float:
        return self.target


def latency_constraint(model: LatencyModel, target_ms: float, budget_ms: float | None = None) -> LatencyConstraint:
    """A predicted latency of at most `target_ms`.

    Args:
        budget_ms: what was asked; by default the budget of which the margin of `model` leaves `target_ms`.

    Raises:
        InfeasibleBudgetError: no network of the space is that fast.
    """
    constant = model.intercept_ms + model.slope * model.fixed_ms
    raw_budget_ms = model.raw_budget_ms(target_ms)
    budget_ms = model.budget_ms(target_ms) if budget_ms is None else budget_ms
    return LatencyConstraint("ms", model.costs, raw_budget_ms, target_ms, model.slope, constant, budget_ms)
