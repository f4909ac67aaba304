"""From preferences to the best architecture under a budget, exactly; and uniform feasible draws, by counting.

Both take a second constraint, say on the size of the file beside the latency, and groups of decisions that hold
together (`hwnas.arch.groups`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.groups import Groups, Item, choices_of, items, pooled
from hwnas.arch.groups import total as total
from hwnas.errors import InputError
from hwnas.nas.milp import OptionTable as OptionTable
from hwnas.nas.milp import best_within

Second = tuple[OptionTable, float]
"""Costs and budget of a second constraint."""
_CELLS, _CELLS_OF_TWO = 8192, 512


def decode(
    scores: OptionTable,
    costs: OptionTable,
    budget: float,
    second: Second | None = None,
    groups: Groups = (),
    prefix: tuple[int, ...] = (),
) -> tuple[int, ...] | None:
    """The choices with the largest sum of scores among those whose costs sum to at most `budget`.

    A multiple-choice knapsack, solved exactly on real-valued costs: decisions are added one by one and only the
    non-dominated (cost, score) pairs are kept (Nemhauser and Ullmann, 1969). Ties go to the cheaper architecture.
    With a second constraint, an integer programme does it (`best_within`), and which of equal scores it takes is
    not said.

    Args:
        scores: per decision and option, for example log-probabilities.
        costs: alike, in any unit.
        budget: in the unit of `costs`.
        second: costs and budget of another constraint that holds as well.
        groups: what else the choices keep to; a group is one choice among its valid combinations.
        prefix: what the first decisions take, whatever their scores.

    Returns:
        The option index per decision, or None when no architecture is within the budget, or within both.

    Raises:
        InputError: a score is not finite.
    """
    if not all(np.isfinite(row).all() for row in scores):
        raise InputError("the scores of a decode must be finite numbers")
    if groups or prefix:
        found = items(tuple(map(len, costs)), groups, prefix)
        return _decode_items(found, scores, costs, budget, second)
    if second is not None:
        leanest = decode(negative(second[0]), costs, budget)
        if leanest is None or total(second[0], leanest) > second[1]:
            return None
        return best_within(scores, (costs, second[0]), (budget, second[1]), leanest)
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


def _decode_items(
    found: Sequence[Item], scores: OptionTable, costs: OptionTable, budget: float, second: Second | None
) -> tuple[int, ...] | None:
    """`decode` where the options of each item are combinations, of which only the undominated ones are looked at."""
    if not all(item.combinations for item in found):
        return None
    tables = [pooled(table, found) for table in (scores, costs, *(second or ())[:1])]
    kept = [_undominated(*rows) for rows in zip(*tables, strict=True)]
    score, *spent = ([[row[k] for k in one] for row, one in zip(table, kept, strict=True)] for table in tables)
    picked = decode(score, spent[0], budget, None if second is None else (spent[1], second[1]))
    return None if picked is None else choices_of(found, [one[k] for one, k in zip(kept, picked, strict=True)])


def _undominated(score: Sequence[float], *costs: Sequence[float]) -> list[int]:
    """Options for which no other one is at least as good in every cost and in score, and better in one or earlier."""
    values = np.array([[-value for value in score], *costs])
    beaten = (values[:, :, None] <= values[:, None, :]).all(axis=0)  # [i, j]: i is at least as good as j
    first = np.arange(len(score))
    beaten &= ~beaten.T | (first[:, None] < first)
    return np.flatnonzero(~beaten.any(axis=0)).tolist()


def kept_scores(scores: OptionTable, groups: Groups) -> list[list[float]]:
    """Scores in which leaving a decision of a group out scores nothing, as DARTS has it (Liu et al., 2019, 2.4).

    DARTS ranks the edges into a node by their most probable op other than `none`, keeps the best two with these ops,
    and never looks at how probable `none` is. That is the exact decode of these scores without a budget: every
    architecture keeps equally many edges, so its score is the sum over them, and the largest sum has the largest
    terms. Under a budget it is the best architecture by the same measure. See docs/decisions/0021.
    """
    changed = [list(row) for row in scores]
    for group in groups:
        for decision, off in zip(group.decisions, group.off, strict=True):
            if off >= 0:
                changed[decision][off] = 0.0
    return changed


class FeasibleSampler:
    """Draws architectures uniformly from those within a budget, or two, by counting completions: nothing is rejected.

    Costs above each decision's cheapest option are rounded up to a grid, so that every draw is feasible; what the
    rounding excludes lies within `decisions / cells` of the budget, where a group of decisions counts as one. Of two
    constraints that only just go together the grid may leave nothing; then the one draw is the architecture with the
    smallest second cost.
    """

    def __init__(
        self, costs: OptionTable, budget: float, second: Second | None = None, groups: Groups = (), *, cells: int = 0
    ) -> None:
        """Count the completions.

        Args:
            costs, budget, second, groups: as of `decode`.
            cells: of the grid along one constraint; 0 is 8,192 for one constraint and 512 for two.

        Raises:
            InputError: no architecture is within the budget.
        """
        self._items = items(tuple(map(len, costs)), groups)
        if groups:
            costs = pooled(costs, self._items)
            second = second and (pooled(second[0], self._items), second[1])
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
            self._only = decode(negative(second[0]), costs, budget, second)
            if self._only is None:
                raise InputError(f"no architecture is within {budget:g} and {second[1]:g} of the two constraints")

    @property
    def count(self) -> float:
        """Number of feasible architectures, up to the rounding."""
        return 1.0 if self._only is not None else float(self._counts[0].flat[-1])

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """One architecture, uniformly."""
        if self._only is not None:
            return choices_of(self._items, self._only)
        left = np.full(self._counts[0].ndim, self._cells)
        choices: list[int] = []
        for steps, counts in zip(self._steps, self._counts[1:], strict=True):
            fits = (steps <= left).all(axis=1)
            weights = np.where(fits, counts[tuple(np.maximum(left - steps, 0).T)], 0.0)
            option = int(rng.choice(len(steps), p=weights / weights.sum()))
            choices.append(option)
            left = left - steps[option]
        return choices_of(self._items, choices)


def _grid_steps(costs: OptionTable, budget: float, cells: int, room: int) -> list[NDArray[np.int64]]:
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


def negative(table: OptionTable) -> list[list[float]]:
    """Scores by which the cheapest is the best."""
    return [[-value for value in row] for row in table]


def _suffix(values: Sequence[float]) -> list[float]:
    """`result[i]` = sum of `values[i:]`."""
    return [float(total) for total in [*np.cumsum(values[::-1])[::-1], 0.0]]
