"""From preferences to the best architecture under a budget, exactly; and uniform feasible draws, by counting.

Both take a second constraint, say on the size of the file beside the latency.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwnas.errors import InputError
from hwnas.search.pareto import Table as Table
from hwnas.search.pareto import best_within_two

Second = tuple[Table, float]
"""Costs and budget of a second constraint."""
_CELLS, _CELLS_OF_TWO = 8192, 512


def decode(scores: Table, costs: Table, budget: float, second: Second | None = None) -> tuple[int, ...] | None:
    """The choices with the largest sum of scores among those whose costs sum to at most `budget`.

    A multiple-choice knapsack, solved exactly on real-valued costs: decisions are added one by one and only the
    non-dominated (cost, score) pairs are kept (Nemhauser and Ullmann, 1969). Ties go to the cheaper architecture.
    With a second constraint, `best_within_two` does it.

    Args:
        scores: per decision and option, for example log-probabilities.
        costs: alike, in any unit.
        budget: in the unit of `costs`.
        second: costs and budget of another constraint that holds as well.

    Returns:
        The option index per decision, or None when no architecture is within the budget, or within both.

    Raises:
        InputError: a score is not finite.
    """
    if not all(np.isfinite(row).all() for row in scores):
        raise InputError("the scores of a decode must be finite numbers")
    if second is not None:
        leanest = decode([[-cost for cost in row] for row in second[0]], costs, budget)
        if leanest is None or total(second[0], leanest) > second[1]:
            return None
        return best_within_two(scores, (costs, second[0]), (budget, second[1]), leanest)
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
    """Draws architectures uniformly from those within a budget, or two, by counting completions: nothing is rejected.

    Costs above each decision's cheapest option are rounded up to a grid, so that every draw is feasible; what the
    rounding excludes lies within `decisions / cells` of the budget. Of two constraints that only just go together the
    grid may leave nothing; then the one draw is the architecture with the smallest second cost.
    """

    def __init__(self, costs: Table, budget: float, second: Second | None = None, *, cells: int = 0) -> None:
        """Count the completions.

        Args:
            costs, budget, second: as of `decode`.
            cells: of the grid along one constraint; 0 is 8,192 for one constraint and 512 for two.

        Raises:
            InputError: no architecture is within the budget.
        """
        cells = cells or (_CELLS if second is None else _CELLS_OF_TWO)
        constraints = [(costs, budget)] if second is None else [(costs, budget), second]
        room = 0 if second is None else len(costs)  # cells that rounding may take; one constraint has so many cells
        grids = [_grid_steps(*constraint, cells, room) for constraint in constraints]
        self._steps = [np.stack(rows, axis=1) for rows in zip(*grids, strict=True)]  # (options, constraints) each
        shape = (cells + 1,) * len(grids)
        counts = np.ones(shape)  # completions of nothing, for every capacity left
        self._counts = [counts]
        for steps in reversed(self._steps):
            longer = np.zeros(shape)
            for step in steps:
                if step.max() <= cells:
                    longer[tuple(slice(k, None) for k in step)] += counts[tuple(slice(cells + 1 - k) for k in step)]
            counts = longer
            self._counts.insert(0, counts)
        self._cells = cells
        self._only: tuple[int, ...] | None = None
        if not self.count:
            assert second is not None  # one constraint always leaves its cheapest architecture
            self._only = decode([[-cost for cost in row] for row in second[0]], costs, budget, second)
            if self._only is None:
                raise InputError(f"no architecture is within {budget:g} and {second[1]:g} of the two constraints")

    @property
    def count(self) -> float:
        """Number of feasible architectures, up to the rounding."""
        return 1.0 if self._only is not None else float(self._counts[0].flat[-1])

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """One architecture, uniformly."""
        if self._only is not None:
            return self._only
        left = np.full(self._counts[0].ndim, self._cells)
        choices: list[int] = []
        for steps, counts in zip(self._steps, self._counts[1:], strict=True):
            fits = (steps <= left).all(axis=1)
            weights = np.where(fits, counts[tuple(np.maximum(left - steps, 0).T)], 0.0)
            option = int(rng.choice(len(steps), p=weights / weights.sum()))
            choices.append(option)
            left = left - steps[option]
        return tuple(choices)


def _grid_steps(costs: Table, budget: float, cells: int, room: int) -> list[NDArray[np.int64]]:
    """Cells of the budget that each option takes beyond its decision's cheapest one, rounded up.

    A budget that nothing exceeds excludes nothing if `room` is at least the number of decisions.
    """
    spare = budget - sum(min(row) for row in costs)
    if spare < 0:
        raise InputError(f"no architecture is within the budget {budget:g}: the cheapest is {-spare:g} above it")
    widest = sum(max(row) - min(row) for row in costs)
    grid = max(min(spare, widest * cells / max(1, cells - room)), 1e-12 * max(widest, 1.0)) / cells
    return [
        np.minimum(np.ceil((np.asarray(row) - min(row)) / grid - 1e-9), cells + 1).astype(np.int64) for row in costs
    ]


def total(table: Table, choices: Sequence[int]) -> float:
    """Sum over the decisions."""
    return sum((row[choice] for row, choice in zip(table, choices, strict=True)), 0.0)


def _suffix(values: Sequence[float]) -> list[float]:
    """`result[i]` = sum of `values[i:]`."""
    return [float(total) for total in [*np.cumsum(values[::-1])[::-1], 0.0]]
