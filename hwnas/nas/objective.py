"""The differentiable half of a constraint: an expectation, say of the latency, and a force that acts only above it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwnas.arch.groups import Groups
from hwnas.latency.model import LatencyModel
from hwnas.nas.constraint import Constraint
from hwnas.nas.decode import OptionTable


def padded(rows: Sequence[Sequence[float]], fill: float = 0.0) -> Tensor:
    """Ragged rows as a (decisions, most options) matrix, short rows filled up with `fill`."""
    width = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.float64)


class Expected:
    """E[constant + scale · Σ costs] under independent choices: one dot product, differentiable in the probabilities.

    It equals the sum when every decision is certain. Groups make the choices dependent; then it is the expectation over
    what keeps to them, see `Use`.
    """

    def __init__(
        self,
        costs: OptionTable,
        scale: float = 1.0,
        constant: float = 0.0,
        groups: Groups = (),
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._costs = (padded(costs) * scale).to(dtype).to(device)
        self._constant = constant
        self._use = Use(groups, tuple(map(len, costs)), device=device, dtype=dtype) if groups else None

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Expectation for (decisions, most options) probabilities, zero where an option does not exist."""
        if self._use is not None:
            probabilities = self._use(probabilities)
        return (probabilities * self._costs).sum() + self._constant


class Use:
    """How often each option is used once the groups are kept to.

    The kept edges of a group and their ops are drawn with odds `Π p(op)` over the kept edges: what the decode of
    `kept_scores` is most likely to take. With w the probability that an edge is not left out and e_k the elementary
    symmetric polynomial of degree k, an op is used with probability `p(op) · e_{k-1}(w of the other edges) / e_k(w)`,
    and k edges are in all (sampling with a fixed size: Chen, Dempster and Liu, 1994). Certain choices stay as they are.
    """

    def __init__(
        self,
        groups: Groups,
        options: Sequence[int],
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        widest = max(len(group.decisions) for group in groups)
        rows = [[*group.decisions, *[0] * (widest - len(group.decisions))] for group in groups]
        member = [[1.0] * len(group.decisions) + [0.0] * (widest - len(group.decisions)) for group in groups]
        off = [[0.0] * max(options) for _ in options]
        for group in groups:
            for decision, option in zip(group.decisions, group.off, strict=True):
                if option >= 0:
                    off[decision][option] = 1.0
        self._member = torch.tensor(member, dtype=dtype, device=device)
        self._off = torch.tensor(off, dtype=dtype, device=device)
        self._rows = torch.tensor(rows, device=device)
        self._flat = self._rows[self._member > 0]
        self._keep = [group.keep for group in groups]
        self._others = 1.0 - torch.eye(widest, dtype=dtype, device=device)

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Of (decisions, most options) probabilities, how often each option is used."""
        weights = (probabilities * (1.0 - self._off)).sum(1)[self._rows] * self._member  # (groups, edges)
        all_kept = _symmetric(weights, self._keep)
        rest = _symmetric(weights[:, None, :] * self._others, [keep - 1 for keep in self._keep])
        share = (rest / all_kept[:, None].clamp(min=torch.finfo(rest.dtype).tiny))[self._member > 0]
        kept = probabilities[self._flat] * (1.0 - self._off[self._flat]) * share[:, None]
        left_out = (1.0 - kept.sum(1, keepdim=True)) * self._off[self._flat]
        return probabilities.index_copy(0, self._flat, kept + left_out)


def _symmetric(values: Tensor, degrees: Sequence[int]) -> Tensor:
    """Elementary symmetric polynomials over the last dimension of (groups, ..., n), of one degree for each group."""
    sums = [torch.ones_like(values[..., 0])]
    for value in values.unbind(-1):
        longer = [value * one for one in sums]
        sums = [sums[0], *(a + b for a, b in zip(sums[1:], longer, strict=False)), longer[-1]]
    return torch.stack([sums[degree][index] for index, degree in enumerate(degrees)])


class ExpectedLatency(Expected):
    """E[latency] of a latency model, in milliseconds."""

    def __init__(
        self, model: LatencyModel, *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        constant = model.intercept_ms + model.slope * model.fixed_ms
        super().__init__(model.costs.table, model.slope, constant, model.costs.groups, device=device, dtype=dtype)


class ConstraintPenalty:
    """What holds an expectation to a constraint: both, and the unit that they are in.

    Raises:
        InputError: its costs are no sums over decisions.
    """

    def __init__(self, constraint: Constraint, device: torch.device | None = None) -> None:
        costs = constraint.costs
        self.unit = constraint.unit
        self.expected = Expected(costs.table, constraint.scale, constraint.constant, costs.groups, device=device)
        self.penalty = BudgetPenalty(constraint.target)


class BudgetPenalty:
    """Augmented Lagrangian of the inequality E / T - 1 <= 0 in the form of Powell, Hestenes and Rockafellar.

    `penalty = (max(0, λ + ρ g)² - λ²) / 2ρ` with the unit-free violation g = E / T - 1; `λ ← max(0, λ + ρ g)`.
    There is no force while E < T and λ = 0, and none towards spending less than the target.
    """

    def __init__(self, target: float, rho: float = 4.0) -> None:
        self.target = target
        self.rho = rho
        self.multiplier = 0.0

    def __call__(self, expected: Tensor) -> Tensor:
        """The penalty to add to the loss."""
        violation = expected / self.target - 1.0
        return ((self.multiplier + self.rho * violation).clamp(min=0.0) ** 2 - self.multiplier**2) / (2.0 * self.rho)

    def update(self, expected: float) -> None:
        """One multiplier step."""
        self.multiplier = max(0.0, self.multiplier + self.rho * (expected / self.target - 1.0))
