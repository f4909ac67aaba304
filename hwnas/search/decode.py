"""From preferences to the best architecture under a budget, exactly; and uniform feasible draws, by counting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwnas.errors import InputError

Table = Sequence[Sequence[float]]  # one row per decision, one value per option


def decode(scores: Table, costs: Table, budget: float) -> tuple[int, ...] | None:
    """The choices with the largest sum of scores among those whose costs sum to at most `budget`.

    A multiple-choice knapsack, solved exactly on real-valued costs: decisions are added one by one and only the
    non-dominated (cost, score) pairs are kept (Nemhauser and Ullmann, 1969). Ties go to the cheaper architecture.

    Args:
        scores: per decision and option, for example log-probabilities.
        costs: alike, in any unit.
        budget: in the unit of `costs`.

    Returns:
        The option index per decision, or None when no architecture is within the budget.

    Raises:
        InputError: a score is not finite.
    """
    if not all(np.isfinite(row).all() for row in scores):
        raise InputError("the scores of a decode must be finite numbers")
    rest_cost = _suffix([min(row) for row in costs])
    slack = 1e-9 * max(1.0, abs(budget))  # pruning may round differently from the sum that decides at the end
    cost, score = np.zeros(1), np.zeros(1)
    trail: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for group, (group_scores, group_costs) in enumerate(zip(scores, costs, strict=True)):
        option_count = len(group_costs)
        cost = (cost[:, None] + np.asarray(group_costs)).ravel()
        score = (score[:, None] + np.asarray(group_scores)).ravel()
        last = group == len(costs) - 1
        candidates = np.flatnonzero(cost <= budget if last else cost + rest_cost[group + 1] <= budget + slack)
        candidates = candidates[np.lexsort((-score[candidates], cost[candidates]))]
        best_before = np.maximum.accumulate(np.concatenate(([-np.inf], score[candidates])))[:-1]
        if not candidates.size:
            return None
        kept = candidates[score[candidates] > best_before]
        trail.append((kept // option_count, kept % option_count))
        cost, score = cost[kept], score[kept]
    choices: list[int] = []
    state = int(np.argmax(score))
    for parent, option in reversed(trail):
        choices.append(int(option[state]))
        state = int(parent[state])
    return tuple(reversed(choices))


class FeasibleSampler:
    """Draws architectures uniformly from those within a budget, by counting completions: nothing is rejected.

    Costs above each decision's cheapest option are rounded up to a grid, so that every draw is feasible; what the
    rounding excludes lies within `decisions / cells` of the budget.
    """

    def __init__(self, costs: Table, budget: float, cells: int = 8192) -> None:
        """Count the completions.

        Raises:
            InputError: no architecture is within the budget.
        """
        spare = budget - sum(min(row) for row in costs)
        if spare < 0:
            raise InputError(f"no architecture is within the budget {budget:g}: the cheapest is {-spare:g} above it")
        widest = sum(max(row) - min(row) for row in costs)
        grid = max(min(spare, widest), 1e-12 * max(widest, 1.0)) / cells
        self._steps = [
            np.minimum(np.ceil((np.asarray(row) - min(row)) / grid - 1e-9), cells + 1).astype(np.int64) for row in costs
        ]
        counts = np.ones(cells + 1)  # completions of nothing, for every capacity left
        self._counts = [counts]
        for steps in reversed(self._steps):
            longer = np.zeros(cells + 1)
            for step in steps:
                if step <= cells:
                    longer[step:] += counts[: cells + 1 - step]
            counts = longer
            self._counts.insert(0, counts)
        self._cells = cells

    @property
    def count(self) -> float:
        """Number of feasible architectures, up to the rounding."""
        return float(self._counts[0][self._cells])

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """One architecture, uniformly."""
        left = self._cells
        choices: list[int] = []
        for steps, counts in zip(self._steps, self._counts[1:], strict=True):
            weights = np.where(steps <= left, counts[np.maximum(left - steps, 0)], 0.0)
            option = int(rng.choice(len(steps), p=weights / weights.sum()))
            choices.append(option)
            left -= int(steps[option])
        return tuple(choices)


def _suffix(values: Sequence[float]) -> list[float]:
    """`result[i]` = sum of `values[i:]`."""
    return [float(total) for total in [*np.cumsum(values[::-1])[::-1], 0.0]]
