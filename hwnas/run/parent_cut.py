"""How much of a parent has to go: of what is between the fastest network and the parent, the share above the budget."""

from __future__ import annotations

from collections.abc import Sequence

from hwnas.latency.model import LatencyModel
from hwnas.latency.table_model import model_of
from hwnas.run.plan import Plan

_UNKNOWN = 1.0


def parent_cut(plan: Plan, model: LatencyModel, budgets_ms: Sequence[float]) -> float:
    """0 where the parent itself keeps every budget and limit, 1 where a budget leaves the fastest networks alone.

    Where the parent keeps the budgets and not another limit, nobody knows how much has to go: then it is 1.

    Args:
        model: of the searched space.
        budgets_ms: as asked for, without the margin of the table.
    """
    if any(0 not in kept for kept in plan.constrained.kept):  # the first option of a decision is the parent's own
        return _UNKNOWN
    return max(_cut(plan, model, budget_ms) for budget_ms in budgets_ms)


def expected_cut(plan: Plan) -> float:
    """The same before the table is complete, as far as the plan tells; 1 where it does not."""
    if plan.complete:
        whole = model_of(plan.table, plan.whole, any_table=True, cold=plan.cold)
        budgets_ms = [budget.ms(whole) for budget in plan.budgets]
        return parent_cut(plan, whole.restricted(plan.constrained.kept), budgets_ms)
    tightest = plan.budgets[0]
    if tightest.relative:
        return 1.0 - tightest.value / 100.0
    size = list(plan.space.input_shape[1:])
    for one in plan.sizes:
        if one["input"] == size:
            return _share(tightest.value, *one["range_ms"])
    return _UNKNOWN


def _cut(plan: Plan, model: LatencyModel, budget_ms: float) -> float:
    target_ms, own = model.target_ms(budget_ms), (0,) * len(plan.space.decisions)
    whole_ms = model.predict_ms(own)
    if target_ms < whole_ms:
        return _share(target_ms, model.smallest_ms, whole_ms)
    return 0.0 if plan.constrained.feasible_set(model, target_ms, budget_ms).keeps(own) else _UNKNOWN


def _share(target_ms: float, smallest_ms: float, whole_ms: float) -> float:
    """Of what is between the fastest network and the parent, how much is above the target."""
    return min(1.0, max(0.0, (whole_ms - target_ms) / max(whole_ms - smallest_ms, 1e-12)))
