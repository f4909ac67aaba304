"""The differentiable half of a limit: what is expected, say of the latency, and a force that acts only above it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwnas.latency.model import LatencyModel
from hwnas.search.decode import Table
from hwnas.search.limits import Limit


def padded(rows: Sequence[Sequence[float]], fill: float = 0.0) -> Tensor:
    """Ragged rows as a (decisions, most options) matrix, short rows filled up with `fill`."""
    width = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.float64)


class Expected:
    """E[constant + scale · Σ costs] under independent choices: one dot product, differentiable in the probabilities.

    It equals the sum when every decision is certain.
    """

    def __init__(
        self,
        costs: Table,
        scale: float = 1.0,
        constant: float = 0.0,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._costs = (padded(costs) * scale).to(dtype).to(device)
        self._constant = constant

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Expectation for (decisions, most options) probabilities, zero where an option does not exist."""
        return (probabilities * self._costs).sum() + self._constant


class ExpectedLatency(Expected):
    """E[latency] of a latency model, in milliseconds."""

    def __init__(
        self, model: LatencyModel, *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        constant = model.intercept_ms + model.slope * model.fixed_ms
        super().__init__(model.costs_ms, model.slope, constant, device=device, dtype=dtype)


class Hold:
    """What holds an expectation to a limit: both, and the unit that they are in."""

    def __init__(self, limit: Limit, device: torch.device | None = None) -> None:
        self.unit = limit.unit
        self.expected = Expected(limit.costs, limit.scale, limit.constant, device=device)
        self.penalty = BudgetPenalty(limit.limit)


class BudgetPenalty:
    """Augmented Lagrangian of the inequality E / T - 1 <= 0 in the form of Powell, Hestenes and Rockafellar.

    `penalty = (max(0, λ + ρ g)² - λ²) / 2ρ` with the unit-free violation g = E / T - 1; `λ ← max(0, λ + ρ g)`.
    There is no force while E < T and λ = 0, and none towards spending less than the budget.
    """

    def __init__(self, budget: float, rho: float = 4.0) -> None:
        self.budget = budget
        self.rho = rho
        self.multiplier = 0.0

    def __call__(self, expected: Tensor) -> Tensor:
        """The penalty to add to the loss."""
        violation = expected / self.budget - 1.0
        return ((self.multiplier + self.rho * violation).clamp(min=0.0) ** 2 - self.multiplier**2) / (2.0 * self.rho)

    def update(self, expected: float) -> None:
        """One multiplier step."""
        self.multiplier = max(0.0, self.multiplier + self.rho * (expected / self.budget - 1.0))
