"""The multiple-choice knapsack as an integer programme that HiGHS solves: with more constraints than one, or pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

OptionTable = Sequence[Sequence[float]]
"""One row per decision, one value per option."""

Pairs = Mapping[tuple[tuple[int, int], tuple[int, int]], float]
"""What two options, each a (decision, option), add to the score where both are taken."""

_LOWERED = (0.0,) * 8 + (2e-6, 2e-5, 2e-4)
_NO_PAIRS: Pairs = {}


def best_within(
    scores: OptionTable,
    costs: Sequence[OptionTable],
    budgets: Sequence[float],
    start: tuple[int, ...],
    pairs: Pairs = _NO_PAIRS,
) -> tuple[int, ...]:
    """The choices with the largest sum of scores whose costs sum to at most the budgets.

    One binary variable an option, one of them true in each decision (Kellerer, Pferschy and Pisinger, Knapsack
    Problems, 2004, chapter 11), and one more for each pair, the product of two (Glover and Woolsey, 1974); solved
    without a gap. HiGHS takes sums for equal to a budget that are a millionth of its room too large. Such choices are
    told by their real sums, a constraint excludes them, and the programme is solved again. Where a budget is kept only
    up to rounding by very many choices, that comes to no end: from the ninth time on, the budgets are lowered by a
    millionth of their room.

    Args:
        scores, costs: per decision and option; finite. Of costs there is a table for each budget.
        budgets: may be infinite.
        start: choices that are within all budgets; they win ties.
        pairs: finite, each of two decisions.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # half a second that few commands need

    options = [len(row) for row in scores]
    loss = np.concatenate([max(row) - np.asarray(row, dtype=np.float64) for row in scores])
    loss = np.concatenate([loss, -np.fromiter(pairs.values(), np.float64, len(pairs))])
    one_each = np.repeat(np.eye(len(options)), options, axis=1)
    extra = np.stack([np.concatenate([np.asarray(row) - min(row) for row in table]) for table in costs])
    room = np.array([budget - sum(map(min, table)) for budget, table in zip(budgets, costs, strict=True)])
    reach = np.array([sum(max(map(abs, row)) for row in table) for table in costs])
    rounding = 1e-12 * reach + 1e-300
    possible = (extra <= (room + rounding)[:, None]).all(axis=0)
    rows = extra * possible / np.clip(room, rounding, 2 * reach + 1e-300)[:, None]
    objective = loss * (1e3 / max(np.abs(loss).max(), 1e-300))  # a gap of 1e-6 counts as none
    products = [LinearConstraint(part, ub=limits) for part, limits in _products(options, pairs)]
    cuts: list[LinearConstraint] = []
    for lowered in _LOWERED:
        solved = milp(
            objective,
            constraints=[
                LinearConstraint(_widened(one_each, pairs), 1, 1),
                LinearConstraint(_widened(rows, pairs), ub=1 - lowered),
                *products,
                *cuts,
            ],
            integrality=np.repeat([1, 0], [sum(options), len(pairs)]),
            bounds=Bounds(0, np.concatenate([possible, np.ones(len(pairs))])),
            options={"mip_rel_gap": 0.0},
        )
        if solved.x is None:
            break
        taken = solved.x[: sum(options)]
        choices = tuple(int(part.argmax()) for part in np.split(taken, np.cumsum(options)[:-1]))
        if all(_total(table, choices) <= budget for table, budget in zip(costs, budgets, strict=True)):
            return choices if total_score(scores, pairs, choices) > total_score(scores, pairs, start) else start
        cuts.append(LinearConstraint(_widened(np.round(taken)[None], pairs), ub=len(options) - 1))
    return start


def total_score(scores: OptionTable, pairs: Pairs, choices: Sequence[int]) -> float:
    """The score of an architecture: what its options add up to, and its pairs."""
    both = (value for ((a, i), (b, j)), value in pairs.items() if choices[a] == i and choices[b] == j)
    return _total(scores, choices) + sum(both)


def _products(options: Sequence[int], pairs: Pairs) -> list[tuple[NDArray[np.float64], list[float]]]:
    """What makes the variable of each pair the product of two others, as far as the objective does not."""
    if not pairs:
        return []
    starts = np.concatenate([[0], np.cumsum(options)])
    rows, limits = [], []
    for index, (places, value) in enumerate(pairs.items()):
        one, other = (starts[decision] + option for decision, option in places)
        product = sum(options) + index
        terms = [{product: 1, one: -1}, {product: 1, other: -1}] if value > 0 else [{one: 1, other: 1, product: -1}]
        for entries in terms:
            row = np.zeros(sum(options) + len(pairs))
            row[list(entries)] = list(entries.values())
            rows.append(row)
            limits.append(0.0 if value > 0 else 1.0)
    return [(np.stack(rows), limits)]


def _widened(rows: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
    """Rows over the options, with nothing of the pairs."""
    return np.hstack([rows, np.zeros((len(rows), len(pairs)))])


def _total(table: OptionTable, choices: Sequence[int]) -> float:
    return sum(row[choice] for row, choice in zip(table, choices, strict=True))
