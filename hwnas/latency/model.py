"""The latency of an architecture as a sum over decisions, calibrated on whole networks. Numbers only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from hwnas.arch.groups import Groups, Rows, items, pooled, total
from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.errors import InfeasibleBudgetError, InputError

_Z = 1.645  # what a normal variable stays below with 95 % probability, in standard deviations


def margin(sigma: float) -> float:
    """The share of a budget that searches leave, 0 to 1; see `Latencies.target_ms`.

    Args:
        sigma: standard deviation of measured / predicted - 1.
    """
    return 1.0 - 1.0 / (1.0 + _Z * sigma)


class Latencies(ABC):
    """`latency = intercept_ms + slope · (fixed_ms + raw)`, whatever raw is a sum over.

    Attributes:
        slope, intercept_ms: the affine fitted on whole measured networks; slope > 0, so budgets map back to raw sums.
        sigma: standard deviation of measured / predicted - 1 on networks that took no part in the fit.
        fixed_ms: raw row sum of what is not chosen.
    """

    slope: float
    intercept_ms: float
    sigma: float
    fixed_ms: float

    @abstractmethod
    def raw_ms(self, choices: Sequence[int]) -> float:
        """Raw costs of what is chosen."""

    @property
    @abstractmethod
    def smallest_raw_ms(self) -> float:
        """Of all architectures."""

    @property
    @abstractmethod
    def largest_raw_ms(self) -> float:
        """Of all architectures."""

    @abstractmethod
    def restricted(self, kept: Sequence[Sequence[int]]) -> Latencies:
        """The model of the same space with only the options `kept` of each decision."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The numbers of the model."""

    def predict_ms(self, choices: Sequence[int]) -> float:
        """Calibrated latency of an architecture."""
        return self.calibrated_ms(self.raw_ms(choices))

    def calibrated_ms(self, raw_ms: float) -> float:
        """Calibrated latency of decisions whose raw costs sum to `raw_ms`."""
        return self.intercept_ms + self.slope * (self.fixed_ms + raw_ms)

    @property
    def smallest_ms(self) -> float:
        return self.calibrated_ms(self.smallest_raw_ms)

    @property
    def largest_ms(self) -> float:
        return self.calibrated_ms(self.largest_raw_ms)

    def target_ms(self, budget_ms: float) -> float:
        """The predicted latency to stay under, so that a network measures under `budget_ms` with 95 % confidence."""
        return budget_ms / (1.0 + _Z * self.sigma)

    def budget_ms(self, target_ms: float) -> float:
        """The budget whose `target_ms` that is."""
        return target_ms * (1.0 + _Z * self.sigma)

    def raw_budget_ms(self, target_ms: float) -> float:
        """What the raw costs of the decisions may sum to for a calibrated latency of `target_ms`.

        Raises:
            InfeasibleBudgetError: not even the fastest network of the space is that fast.
        """
        if target_ms < self.smallest_ms:
            raise InfeasibleBudgetError(
                f"no network of this space is predicted to run within {target_ms:.4g} ms (the budget less the table's "
                f"margin): the fastest one takes {self.smallest_ms:.4g} ms",
                smallest_ms=self.smallest_ms,
                hint=f"ask for at least --budget-ms {self.budget_ms(self.smallest_ms) * 1.005:.3g}, "
                "or use a smaller --width or --resolution",
            )
        raw_ms = (target_ms - self.intercept_ms) / self.slope - self.fixed_ms
        return max(raw_ms, self.smallest_raw_ms) * (1.0 + 1e-12)  # mapping back must not round anyone out


@dataclass(frozen=True)
class LatencyModel(Latencies):
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

    def restricted(self, kept: Sequence[Sequence[int]]) -> LatencyModel:
        """The model of `SearchSpace.restricted(kept)`."""
        rows = zip(self.costs_ms, kept, strict=True)
        return replace(
            self,
            costs_ms=tuple(tuple(row[option] for option in options) for row, options in rows),
            groups=tuple(group.restricted(kept) for group in self.groups),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def raw_ms(self, choices: Sequence[int]) -> float:
        return total(self.costs_ms, choices, self.groups)

    @cached_property
    def smallest_raw_ms(self) -> float:
        return sum(map(min, self._items_ms))

    @cached_property
    def largest_raw_ms(self) -> float:
        return sum(map(max, self._items_ms))

    @cached_property
    def _items_ms(self) -> Rows:
        """Raw costs of what can be chosen independently."""
        return pooled(self.costs_ms, items(tuple(map(len, self.costs_ms)), self.groups))


def latency_model(
    space: SearchSpace,
    row_ms: Callable[[OpSpec], float],
    *,
    slope: float = 1.0,
    intercept_ms: float = 0.0,
    sigma: float = 0.0,
) -> LatencyModel:
    """The model of `space` from the rows of a table.

    Args:
        space: its slots say which rows are summed.
        row_ms: latency of one op in milliseconds; ops that lower to nothing are not asked for and cost nothing.
        slope, intercept_ms, sigma: see `LatencyModel`.
    """
    fixed_ms = 0.0
    costs_ms = [[0.0] * len(decision.options) for decision in space.decisions]
    for slot in space.slots:
        row = [row_ms(spec) if spec.graph.nodes else 0.0 for spec in slot.ops]
        if slot.decision is None:
            fixed_ms += row[0]
        else:
            for option, cost in enumerate(row):
                costs_ms[slot.decision][option] += cost
    return LatencyModel(tuple(map(tuple, costs_ms)), fixed_ms, slope, intercept_ms, sigma, space.groups)
