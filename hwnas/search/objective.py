"""The differentiable half of the budget: expected latency, and a force that acts only above the budget."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwnas.latency.model import LatencyModel


def padded(rows: Sequence[Sequence[float]], fill: float = 0.0) -> Tensor:
    """Ragged rows as a (decisions, most options) matrix, short rows filled up with `fill`."""
    width = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.float64)


class ExpectedLatency:
    """E[latency] under independent choices, in milliseconds: one dot product, differentiable in the probabilities.

    It equals the table's sum when every decision is certain.
    """

    def __init__(
        self, model: LatencyModel, *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self._costs = (padded(model.costs_ms) * model.slope).to(dtype).to(device)
        self._constant = model.intercept_ms + model.slope * model.fixed_ms

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Expected latency for (decisions, most options) probabilities, zero where an option does not exist."""
        return (probabilities * self._costs).sum() + self._constant


class BudgetPenalty:
    """Augmented Lagrangian of the inequality E / T - 1 <= 0 in the form of Powell, Hestenes and Rockafellar.

    `penalty = (max(0, λ + ρ g)² - λ²) / 2ρ` with the unit-free violation g = E / T - 1; `λ ← max(0, λ + ρ g)`.
    There is no force while E < T and λ = 0, and none towards spending less than the budget.
    """

    def __init__(self, budget_ms: float, rho: float = 4.0) -> None:
        self.budget_ms = budget_ms
        self.rho = rho
        self.multiplier = 0.0

    def __call__(self, expected_ms: Tensor) -> Tensor:
        """The penalty to add to the loss."""
        violation = expected_ms / self.budget_ms - 1.0
        return ((self.multiplier + self.rho * violation).clamp(min=0.0) ** 2 - self.multiplier**2) / (2.0 * self.rho)

    def update(self, expected_ms: float) -> None:
        """One multiplier step."""
        self.multiplier = max(0.0, self.multiplier + self.rho * (expected_ms / self.budget_ms - 1.0))
