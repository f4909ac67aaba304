"""What an architecture must keep to, whether its costs are sums over decisions or those of a walk through states."""

from __future__ import annotations

from hwnas.arch.paths import paths_of
from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import AnySpace
from hwnas.latency.model import Latencies, LatencyModel
from hwnas.latency.walks import ChainLatencies
from hwnas.nas.feasible import Additive, Feasible, WithFeatures
from hwnas.nas.limits import Limit, Limits, latency_limit
from hwnas.nas.walks import ChainLimit, ChainLimits, chain_limits

AnyLimit = Limit | ChainLimit
AnyLimits = Limits | ChainLimits


def limits_of(model: Latencies, target_ms: float, size: Limit | None = None) -> AnyLimits:
    """A predicted latency of at most `target_ms`, and a size of the file where one is given; not of chains.

    Raises:
        InfeasibleBudgetError: no network of the space is that fast.
    """
    if isinstance(model, ChainLatencies):
        return chain_limits(model, target_ms)
    assert isinstance(model, LatencyModel)
    return Limits(latency_limit(model, target_ms), size)


def feasible_of(limits: AnyLimits, space: AnySpace | None = None) -> Feasible:
    """What strategies may propose within the limits.

    Args:
        space: where one is given whose cells have paths, these are the features.

    Raises:
        InputError: there is nothing.
    """
    feasible = Additive(limits) if isinstance(limits, Limits) else limits.sampler()
    paths = paths_of(space) if isinstance(space, SearchSpace) else None
    return feasible if paths is None else WithFeatures(feasible, paths)
