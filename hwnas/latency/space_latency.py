"""The latency model of a space: from the rows of a table, or from what a run kept of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwnas.arch.choice_costs import AdditiveCosts, SequentialCosts
from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.latency.additive_latency import AdditiveLatency
from hwnas.latency.model import LatencyModel
from hwnas.latency.sequential_latency import SequentialLatency


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
        space: it says which rows are summed.
        row_ms: latency of one op in milliseconds; ops that lower to nothing are not asked for and cost nothing.
        slope, intercept_ms, sigma: see `LatencyModel`.
    """

    def additive(costs: AdditiveCosts) -> LatencyModel:
        table = tuple(map(tuple, costs.table))
        return AdditiveLatency(table, costs.fixed, slope, intercept_ms, sigma, costs.groups)

    def sequential(costs: SequentialCosts[Any]) -> LatencyModel:
        rows_ms = {spec.key: row_ms(spec) for spec in space.ops}
        return SequentialLatency(costs, rows_ms, slope, intercept_ms, sigma)

    return space.costs(row_ms).accept(additive, sequential)


def kept_model(space: SearchSpace, content: dict[str, Any]) -> LatencyModel:
    """The model of `space` whose `to_json` went to disk: costs of options, or of a sequential space those of ops."""
    if "costs_ms" in content:
        return AdditiveLatency.from_json(content)
    rows_ms: dict[str, float] = content["rows_ms"]
    numbers = {name: content[name] for name in ("slope", "intercept_ms", "sigma")}
    return latency_model(space, lambda spec: rows_ms[spec.key], **numbers)
