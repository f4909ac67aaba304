"""A plan whose budget can be kept: where the margin of a table leaves no network, a smaller instance is taken.

The instance is chosen by its measured ends. Only its table, once it is complete, says by how much predictions must stay
under the budget, and then even the fastest network may be too slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from hwnas.arch.spaces import space_rungs
from hwnas.config import Configuration
from hwnas.errors import InfeasibleBudgetError, TableError
from hwnas.image_size import Size
from hwnas.latency.table_model import model_of
from hwnas.run.automatic import out_of_reach
from hwnas.run.instance_choice import smaller_sides
from hwnas.run.latency_stage import check_budget
from hwnas.run.plan import Plan

Make = Callable[[Configuration], Plan]
"""Makes a plan of a configuration, as `make_plan` does with its other arguments."""


def feasible_plan(make: Make, config: Configuration) -> Plan:
    """The plan of a configuration or, where a complete table says that its budget cannot be kept, a smaller instance's.

    Widths are given up first, then pixels, as far as the configuration leaves them open. Where that does not help, a
    parent that nobody asked for makes way for random weights. What is left is the plan as it is, whose budget is then
    refused where it always was.

    Raises:
        HwnasError: as `make`.
    """
    plan = make(config)
    if (error := refusal(plan)) is None:
        return plan
    for space in _smaller(config, plan):
        other = make(config.changed(space=space))
        if refusal(other) is None:
            return replace(other, reason=f"{plan.whole.name} is too slow: {error}", sizes=plan.sizes)
    if plan.automatic is None or not plan.automatic.parent:
        return plan
    found = out_of_reach(plan.automatic.parent, error)
    return replace(feasible_plan(make, config.changed(search={"init": ""})), automatic=found)


def refusal(plan: Plan) -> InfeasibleBudgetError | None:
    """Why the budgets of a plan cannot be kept; None where they can, or nobody knows yet."""
    for one in plan.each:
        if one.complete:
            try:
                check_budget(one, model_of(one.table, one.whole, any_table=one.any_table, cold=one.cold))
            except InfeasibleBudgetError as error:
                return error
            except TableError:  # which measuring again may mend
                continue
    return None


def _smaller(config: Configuration, plan: Plan) -> Iterator[dict[str, Any]]:
    """Smaller instances, as options of a space, from large to small; none where another one is asked for."""
    fixed = all(budget.relative for _, budget in plan.all_budgets) or config.space.width
    if fixed or not all(one.device.reachable for one in plan.each):
        return
    sizes = [(width, config.space.depth or depth) for width, depth in space_rungs(plan.config.space.name)]
    sizes = list(dict.fromkeys(sizes))
    taken, size = plan.config.space, Size(*plan.space.input_shape[1:])
    if (taken.width, taken.depth) not in sizes:
        return
    for width, depth in reversed(sizes[: sizes.index((taken.width, taken.depth))]):
        yield {"width": width, "depth": depth, "resolution": size.plain}
    if config.space.resolution:
        return
    width, depth = sizes[0]
    for side in smaller_sides(size.short, from_parent=plan.parent is not None):
        yield {"width": width, "depth": depth, "resolution": size.scaled(side / size.short).plain}
