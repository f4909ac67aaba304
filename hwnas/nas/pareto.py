"""The knapsack with two constraints: a Pareto dynamic programme, cut short by what the dual says is still to be had."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

OptionTable = Sequence[Sequence[float]]  # one row per decision, one value per option
_Floats = NDArray[np.float64]

_WIDTHS = (256, 4096, 65536)
_BUCKETS = 32


def best_within_two(
    scores: OptionTable, costs: tuple[OptionTable, OptionTable], budgets: tuple[float, float], start: tuple[int, ...]
) -> tuple[int, ...]:
    """The choices with the largest sum of scores whose two costs sum to at most the two budgets.

    Decisions are added one by one. A partial architecture is dropped when it cannot be completed within the budgets,
    when another one is at least as good in both costs and in score, or when a bound on its completions, from Lagrange
    multipliers that are optimal for the linear relaxation, does not exceed the best score known (by 1e-12, for
    rounding). The first pass keeps the 256 partial architectures with the highest bounds; a pass that had to leave
    some out is followed by a wider one.

    Where even the widest pass, 65,536, leaves some out, an integer programme decides. This takes preferences that are
    nearly a linear function of both costs, where very many architectures are as good as the best: it may take seconds,
    and the optimum is then one up to the solver's tolerance (docs/decisions/0008).

    Args:
        scores, costs: per decision and option; finite.
        budgets: one per table of `costs`; may be infinite.
        start: choices that are within both budgets.
    """
    best, best_score = start, sum(row[choice] for row, choice in zip(scores, start, strict=True))
    problem = _Problem(scores, costs, budgets)
    for width in _WIDTHS:
        found, whole = problem.search(best_score, width)
        if found is not None:
            best, best_score = found
        if whole:
            return best
    found = _integer_programme(scores, costs, budgets)
    return best if found is None or found[1] <= best_score else found[0]


def _integer_programme(
    scores: OptionTable, costs: tuple[OptionTable, OptionTable], budgets: tuple[float, float]
) -> tuple[tuple[int, ...], float] | None:
    """The same problem solved by HiGHS; None where it finds no choices that keep the budgets to the last bit.

    The solver lets sums exceed a budget by a millionth, so the budgets are lowered until its answer keeps them.
    """
    options = [len(row) for row in scores]
    one_each = block_diag(*[np.ones((1, count)) for count in options])
    flat = [np.concatenate([np.asarray(row, dtype=np.float64) for row in table]) for table in costs]
    scale = [max(1e-12, float(np.abs(row).max())) for row in flat]
    profit = np.concatenate([np.asarray(row, dtype=np.float64) for row in scores])
    for lowered in (0.0, 1e-6, 1e-5, 1e-4):
        limits = [
            LinearConstraint(row / unit, ub=(budget - lowered * abs(budget)) / unit)
            for row, unit, budget in zip(flat, scale, budgets, strict=True)
            if np.isfinite(budget)
        ]
        solved = milp(
            -profit,
            constraints=[LinearConstraint(one_each, 1, 1), *limits],
            integrality=np.ones(len(profit), dtype=np.int64),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": 0.0},
        )
        if solved.x is None:
            return None
        choices = tuple(int(part.argmax()) for part in np.split(solved.x, np.cumsum(options)[:-1]))
        sums = [sum(row[choice] for row, choice in zip(table, choices, strict=True)) for table in costs]
        if all(total <= budget for total, budget in zip(sums, budgets, strict=True)):
            return choices, float(sum(row[choice] for row, choice in zip(scores, choices, strict=True)))
    return None


class _Problem:
    def __init__(
        self, scores: OptionTable, costs: tuple[OptionTable, OptionTable], budgets: tuple[float, float]
    ) -> None:
        self._scores = [np.asarray(row, dtype=np.float64) for row in scores]
        self._costs = [np.asarray(pair, dtype=np.float64) for pair in zip(*costs, strict=True)]  # (2, options) each
        self._budgets = np.asarray(budgets, dtype=np.float64)[:, None]
        widest = np.sum([pair.max(axis=1) for pair in self._costs], axis=0)
        self._reach = np.minimum(self._budgets[:, 0], widest)  # finite, whatever the budgets are
        self._price = _multipliers(self._scores, self._costs, self._reach)
        profits = [score - self._price @ pair for score, pair in zip(self._scores, self._costs, strict=True)]
        self._rest_profit = _suffix(np.array([profit.max() for profit in profits]))
        self._rest_cost = _suffix(np.array([pair.min(axis=1) for pair in self._costs]))

    def search(self, best_score: float, width: int) -> tuple[tuple[tuple[int, ...], float] | None, bool]:
        """The best choices that beat `best_score`, with their score, and whether nothing was left out to find them."""
        cost, score = np.zeros((2, 1)), np.zeros(1)
        slack = 1e-9 * np.maximum(1.0, np.abs(self._reach))[:, None]  # for sums that round differently
        trail: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
        whole = True
        for group, (group_score, group_cost) in enumerate(zip(self._scores, self._costs, strict=True), 1):
            options = len(group_score)
            cost = (cost[:, :, None] + group_cost[:, None, :]).reshape(2, -1)
            score = (score[:, None] + group_score).ravel()
            if group == len(self._scores):
                alive = (cost <= self._budgets).all(axis=0) & (score > best_score)
                bound = score
            else:
                alive = (cost + self._rest_cost[group][:, None] <= self._reach[:, None] + slack).all(axis=0)
                bound = score + self._price @ (self._reach[:, None] - cost) + self._rest_profit[group]
                alive &= bound > best_score + 1e-12 * (1.0 + abs(best_score))
            kept = np.flatnonzero(alive)
            if not kept.size:
                return None, whole
            kept = kept[_undominated(cost[:, kept], score[kept])]
            if len(kept) > width:
                whole = False
                kept = kept[np.argsort(-bound[kept], kind="stable")[:width]]
            trail.append((kept // options, kept % options))
            cost, score = cost[:, kept], score[kept]
        state = int(np.argmax(score))
        found = float(score[state])
        choices: list[int] = []
        for parent, option in reversed(trail):
            choices.append(int(option[state]))
            state = int(parent[state])
        return (tuple(reversed(choices)), found), whole


def _multipliers(scores: Sequence[_Floats], costs: Sequence[_Floats], budgets: _Floats) -> _Floats:
    """Prices λ >= 0 of the two costs that minimise `Σ_d max_k (score - λ cost) + λ budgets`; any λ gives a valid bound.

    Costs are scaled by the budgets, so that the solver sees numbers of one size.
    """
    scale = np.maximum(np.abs(budgets), 1e-12)
    rows, rhs = [], []
    for decision, (score, cost) in enumerate(zip(scores, costs, strict=True)):
        unit = np.zeros((len(score), len(scores)))
        unit[:, decision] = -1.0
        rows.append(np.hstack([unit, -(cost.T / scale)]))
        rhs.append(-score)
    solved = linprog(
        np.concatenate([np.ones(len(scores)), budgets / scale]),
        A_ub=np.vstack(rows),
        b_ub=np.concatenate(rhs),
        bounds=[(None, None)] * len(scores) + [(0.0, None)] * 2,
    )
    return np.zeros(2) if solved.x is None else np.maximum(solved.x[-2:], 0.0) / scale


def _undominated(cost: _Floats, score: _Floats) -> NDArray[np.intp]:
    """Indices of (2, n) costs and (n,) scores less those that another one beats or equals in all three.

    Some that are beaten stay: of the second costs only `_BUCKETS` quantiles are compared.
    """
    order = np.lexsort((-score, cost[1], cost[0]))
    first, second, score = cost[0, order], cost[1, order], score[order]
    edges = np.quantile(second, np.linspace(0.0, 1.0, _BUCKETS + 1)[1:-1])
    bucket = np.searchsorted(edges, second, side="right")
    best = np.full((len(order) + 1, _BUCKETS + 1), -np.inf)  # of those before, in lower buckets
    best[np.arange(1, len(order) + 1), bucket + 1] = score
    best = np.maximum.accumulate(np.maximum.accumulate(best, axis=0), axis=1)
    keep = score > best[np.arange(len(order)), bucket]
    keep[1:] &= (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    undominated: NDArray[np.intp] = order[keep]
    return undominated


def _suffix(values: _Floats) -> _Floats:
    """`result[i]` = sum of `values[i:]` along the first axis, with a zero at the end."""
    return np.concatenate([np.cumsum(values[::-1], axis=0)[::-1], np.zeros((1, *values.shape[1:]))])
