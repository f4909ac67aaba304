"""The latency model of a space: from the rows of a table, or from what a run kept of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas.arch.choice_costs import AdditiveCosts, SequentialCosts
from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.errors import InputError
from hwnas.latency.additive_latency import AdditiveLatency
from hwnas.latency.model import LatencyModel
from hwnas.latency.sequential_latency import SequentialLatency
from hwnas.schema import checked


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


@dataclass(frozen=True)
class _KeptSequential:
    """The latency model of a sequential space on disk: raw latency of every op by key, and the affine."""

    rows_ms: dict[str, float]
    slope: float
    intercept_ms: float
    sigma: float


def kept_model(space: SearchSpace, content: dict[str, Any], source: Path | str) -> LatencyModel:
    """The model of `space` whose `to_json` went to the file `source`.

    Raises:
        InputError: it is none, or of another space.
    """
    if "costs_ms" in content:
        model = checked(content, AdditiveLatency, source, extra="forbid")
        expected, found = [len(one.options) for one in space.decisions], [len(row) for row in model.costs_ms]
        if found != expected:
            raise InputError(f"{source}: costs_ms must have the options {expected} of {space.name}, not {found}")
        return model
    kept = checked(content, _KeptSequential, source, extra="forbid")
    lacking = [spec.key for spec in space.ops if spec.key not in kept.rows_ms]
    if lacking:
        raise InputError(f"{source}: rows_ms must have every op of {space.name}, but {lacking[0]} is missing")
    numbers = {"slope": kept.slope, "intercept_ms": kept.intercept_ms, "sigma": kept.sigma}
    return latency_model(space, lambda spec: kept.rows_ms[spec.key], **numbers)
