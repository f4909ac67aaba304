"""What an architecture must keep to, as numbers: a latency, and where one is asked for the size of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwnas.arch.groups import Groups, choices_of, items, pooled
from hwnas.latency.model import LatencyModel
from hwnas.nas.decode import FeasibleSampler, OptionTable, Second, decode, total

_ROUNDING = 1e-12  # as sums that are equal differ by the order of their summands


@dataclass(frozen=True)
class Limit:
    """`constant + scale · Σ_d costs[d][choice_d] <= limit`.

    Attributes:
        unit: of `limit`, as names of logged numbers end: `ms` or `kb`.
        budget: what the costs may sum to, which says the same as `limit`.
        groups: of the decisions, what else the choices keep to.
    """

    unit: str
    costs: OptionTable
    budget: float
    limit: float
    scale: float = 1.0
    constant: float = 0.0
    groups: Groups = ()

    def value(self, choices: Sequence[int]) -> float:
        """What an architecture takes, in `unit`."""
        return self.constant + self.scale * total(self.costs, choices, self.groups)

    def keeps(self, choices: Sequence[int]) -> bool:
        """Whether an architecture is within the limit; sums that are above it by rounding alone are."""
        return total(self.costs, choices, self.groups) <= self.budget + _ROUNDING * max(1.0, abs(self.budget))


@dataclass(frozen=True)
class Limits:
    """All limits of a search; what is drawn and decoded keeps every one of them."""

    latency: Limit
    size: Limit | None = None

    @property
    def all(self) -> tuple[Limit, ...]:
        return (self.latency,) if self.size is None else (self.latency, self.size)

    @property
    def options(self) -> tuple[int, ...]:
        """Number of options of each decision."""
        return tuple(map(len, self.latency.costs))

    @property
    def groups(self) -> Groups:
        return self.latency.groups

    @property
    def second(self) -> Second | None:
        """The size as `decode` takes it."""
        return None if self.size is None else (self.size.costs, self.size.budget)

    @property
    def without_latency(self) -> Limits:
        return replace(self, latency=replace(self.latency, budget=float("inf"), limit=float("inf")))

    def decode(self, scores: OptionTable) -> tuple[int, ...] | None:
        """The choices with the largest sum of scores, or None when none are within the limits."""
        return decode(scores, self.latency.costs, self.latency.budget, self.second, self.groups)

    def completion(self, prefix: Sequence[int]) -> tuple[int, ...] | None:
        """The cheapest choices that begin with `prefix` and are within the limits, or None when there are none."""
        costs, budget, start = self.latency.costs, self.latency.budget, tuple(prefix)
        if self.second is not None:
            return decode([[-cost for cost in row] for row in costs], costs, budget, self.second, self.groups, start)
        found = items(tuple(map(len, costs)), self.groups, start)
        if not all(item.combinations for item in found):
            return None
        choices = choices_of(found, [row.index(min(row)) for row in pooled(costs, found)])
        return choices if self.latency.keeps(choices) else None

    def sampler(self) -> FeasibleSampler:
        """Uniform draws of architectures within the limits.

        Raises:
            InputError: there are none.
        """
        return FeasibleSampler(self.latency.costs, self.latency.budget, self.second, self.groups)


def latency_limit(model: LatencyModel, target_ms: float) -> Limit:
    """A predicted latency of at most `target_ms`.

    Raises:
        InfeasibleBudgetError: no network of the space is that fast.
    """
    constant = model.intercept_ms + model.slope * model.fixed_ms
    budget = model.raw_budget_ms(target_ms)
    return Limit("ms", model.costs_ms, budget, target_ms, model.slope, constant, model.groups)
