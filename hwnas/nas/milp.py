"""The multiple-choice knapsack with two constraints, as an integer programme that HiGHS solves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

OptionTable = Sequence[Sequence[float]]
"""One row per decision, one value per option."""

_LOWERED = (0.0,) * 8 + (2e-6, 2e-5, 2e-4)


def best_within_two(
    scores: OptionTable, costs: tuple[OptionTable, OptionTable], budgets: tuple[float, float], start: tuple[int, ...]
) -> tuple[int, ...]:
    """The choices with the largest sum of scores whose two costs sum to at most the two budgets.

    One binary variable an option, one of them true in each decision (Kellerer, Pferschy and Pisinger, Knapsack
    Problems, 2004, chapter 11), solved without a gap. HiGHS takes sums for equal to a budget that are a millionth of
    its room too large. Such choices are told by their real sums, a constraint excludes them, and the programme is
    solved again. Where a budget is kept only up to rounding by very many choices, that comes to no end: from the ninth
    time on, the budgets are lowered by a millionth of their room.

    Args:
        scores, costs: per decision and option; finite.
        budgets: one per table of `costs`; may be infinite.
        start: choices that are within both budgets; they win ties.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # half a second that few commands need

    options = [len(row) for row in scores]
    loss = np.concatenate([max(row) - np.asarray(row, dtype=np.float64) for row in scores])
    one_each = LinearConstraint(np.repeat(np.eye(len(options)), options, axis=1), 1, 1)
    extra = np.stack([np.concatenate([np.asarray(row) - min(row) for row in table]) for table in costs])
    room = np.array([budget - sum(map(min, table)) for budget, table in zip(budgets, costs, strict=True)])
    reach = np.array([sum(max(map(abs, row)) for row in table) for table in costs])
    rounding = 1e-12 * reach + 1e-300
    possible = (extra <= (room + rounding)[:, None]).all(axis=0)
    rows = extra * possible / np.clip(room, rounding, 2 * reach + 1e-300)[:, None]
    objective = loss * (1e3 / max(loss.max(), 1e-300))  # a gap of 1e-6 counts as none
    cuts: list[LinearConstraint] = []
    for lowered in _LOWERED:
        solved = milp(
            objective,
            constraints=[one_each, LinearConstraint(rows, ub=1 - lowered), *cuts],
            integrality=np.ones(len(loss), dtype=np.int64),
            bounds=Bounds(0, possible),
            options={"mip_rel_gap": 0.0},
        )
        if solved.x is None:
            break
        choices = tuple(int(part.argmax()) for part in np.split(solved.x, np.cumsum(options)[:-1]))
        if all(_total(table, choices) <= budget for table, budget in zip(costs, budgets, strict=True)):
            return choices if _total(scores, choices) > _total(scores, start) else start
        cuts.append(LinearConstraint(np.round(solved.x), ub=len(options) - 1))
    return start


def _total(table: OptionTable, choices: Sequence[int]) -> float:
    return sum(row[choice] for row, choice in zip(table, choices, strict=True))
