"""`LatencyModel`: the latency of an architecture from the costs of its choices, calibrated on whole networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from hwnas.arch.choice_costs import ChoiceCosts
from hwnas.errors import InfeasibleBudgetError

_TRIMMED = 0.789  # root mean square of a standard normal variable without the largest tenth of its sizes
_T = (
    1.749  # 95 % quantile of Student's t with 23 degrees of freedom, times sqrt(1 + 1 / 24): one more after 24 networks
)
_EXCESS = _T / _TRIMMED


def margin(sigma: float) -> float:
    """The share of a budget that searches leave, 0 to 1; see `LatencyModel.target_ms`.

    Args:
        sigma: of the validation: root mean square of measured / predicted - 1 without the largest tenth of the sizes.
    """
    return 1.0 - 1.0 / (1.0 + _EXCESS * sigma)


class LatencyModel(ABC):
    """`latency = intercept_ms + slope · (fixed_ms + raw)`, whatever raw is a sum over.

    Attributes:
        slope, intercept_ms: the affine fitted on whole measured networks; slope > 0, so budgets map back to raw sums.
        sigma: root mean square of measured / predicted - 1, without the largest tenth of the sizes, on networks that
            took no part in the fit.
        fixed_ms: raw row sum of what is not chosen.
    """

    slope: float
    intercept_ms: float
    sigma: float
    fixed_ms: float

    @property
    @abstractmethod
    def costs(self) -> ChoiceCosts:
        """Raw costs of what is chosen, in milliseconds."""

    @abstractmethod
    def restricted(self, kept: Sequence[Sequence[int]]) -> LatencyModel:
        """The model of the same space with only the options `kept` of each decision."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The numbers of the model."""

    def predict_ms(self, choices: Sequence[int]) -> float:
        """Calibrated latency of an architecture."""
        return self.calibrated_ms(self.costs.cost(choices))

    def calibrated_ms(self, raw_ms: float) -> float:
        """Calibrated latency of decisions whose raw costs sum to `raw_ms`."""
        return self.intercept_ms + self.slope * (self.fixed_ms + raw_ms)

    @property
    def smallest_ms(self) -> float:
        return self.calibrated_ms(self.costs.smallest)

    @property
    def largest_ms(self) -> float:
        return self.calibrated_ms(self.costs.largest)

    def target_ms(self, budget_ms: float) -> float:
        """The predicted latency to stay under, so that a network measures under `budget_ms` with 95 % probability.

        A prediction interval for one more network after the 24 of the validation (Student 1908), with the standard
        deviation that the trimmed `sigma` of normal errors stands for; see docs/decisions/0051.
        """
        return budget_ms / (1.0 + _EXCESS * self.sigma)

    def budget_ms(self, target_ms: float) -> float:
        """The budget whose `target_ms` that is."""
        return target_ms * (1.0 + _EXCESS * self.sigma)

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
        return max(raw_ms, self.costs.smallest) * (1.0 + 1e-12)  # mapping back must not round anyone out
