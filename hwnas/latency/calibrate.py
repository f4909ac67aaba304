"""From rows to whole networks: which networks to measure, the fit, and how far it can be trusted. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.costs import macs
from hwnas.arch.network import Network
from hwnas.arch.space import Architecture, SearchSpace
from hwnas.errors import TableError
from hwnas.latency.table import Calibration, LatencyTable, Validation

CALIBRATION_NETWORKS = 24
VALIDATION_NETWORKS = 24
VERDICT_ROUNDS = 3
LARGEST_ERROR, SMALLEST_SPEARMAN = 0.10, 0.9
_SMALL_ERROR = 0.05
_SMALLEST_SLOPE = 0.01
_HUBER_ERROR, _REWEIGHTINGS = 0.03, 20


@dataclass(frozen=True)
class Measured:
    """One whole network: its rows in the table, and what it took on the device.

    Attributes:
        rows_us: sum of its rows.
        rows: how many rows that were.
        floor_us: undisturbed latency, the estimator that the rows use too.
        median_us: median over accepted rounds, what a budget is judged on; None where too few were accepted.
        halves_us: undisturbed latency in two separate processes.
    """

    rows_us: float
    rows: int
    floor_us: float
    median_us: float | None
    halves_us: tuple[float, float]


def spread_architectures(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Random architectures over the whole range of sizes: options have odds exp(t · MACs), t in `space.tilts`.

    Decisions that hold together are drawn together. Of a chain, each layer is drawn from those that may come next.
    """
    rng = np.random.default_rng(seed)
    work = space.costs(lambda spec: float(macs(spec.graph)))

    def weighted(tilt: float, costs: Sequence[float]) -> int:
        odds = np.exp(tilt * (np.asarray(costs) / max(*costs, 1.0)))
        return int(rng.choice(len(odds), p=odds / odds.sum()))

    return [
        space.architecture(work.drawn(partial(weighted, tilt), lambda count: int(rng.integers(count))))
        for tilt in np.linspace(*space.tilts, count)
    ]


def row_sum(table: LatencyTable, network: Network) -> tuple[float, int]:
    """Sum of a network's rows in microseconds, and how many rows it has."""
    rows = [table.row_ms(spec) * 1e3 for _, spec in network.ops if spec.graph.nodes]
    return sum(rows), len(rows)


def fit(networks: Sequence[Measured]) -> Calibration:
    """Least squares on relative errors of `intercept + slope · Σ rows + slope · per_op · number of rows`.

    Errors beyond 3 % count by their size, not by its square (Huber, 1964): where rows do not add up, say in networks of
    a few microseconds, the fit stays with the others. It is the same wherever no error is as large.

    A row holds what a call costs once (dispatch, reordering the input), and a network pays that once, not once an op;
    the count of rows takes it out. Both terms are additive over decisions, so budgets still decode exactly. Where the
    networks do not tell the terms apart, the per-op term is left out.

    Raises:
        TableError: the networks do not get slower with their rows, so nothing can be fitted.
    """
    rows_us = np.array([network.rows_us for network in networks])
    count = np.array([float(network.rows) for network in networks])
    measured = np.array([network.floor_us for network in networks])
    designs = [np.stack([np.ones_like(rows_us), rows_us, count], 1), np.stack([np.ones_like(rows_us), rows_us], 1)]
    for design in designs:
        solution, rank = robust(design / measured[:, None], np.ones_like(measured))
        slope = float(solution[1])
        per_op = float(solution[2]) / slope if design.shape[1] == 3 and slope > 0 else 0.0
        if rank == design.shape[1] and slope > _SMALLEST_SLOPE and per_op > -0.9 * float(np.min(rows_us / count)):
            return Calibration(slope, float(solution[0]), per_op, len(networks))
    raise TableError(
        f"the measured latency of {len(networks)} networks does not grow with the sum of their rows",
        hint="the machine was too busy to measure: close other programs and profile again",
    )


def robust(design: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Coefficients of a Huber regression by iterated weights, and the rank of the design."""
    weights = np.ones_like(target)
    for _ in range(_REWEIGHTINGS):
        root = np.sqrt(weights)
        solution, _, rank, _ = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)
        errors = np.abs(design @ solution - target)
        weights = np.minimum(1.0, _HUBER_ERROR / np.maximum(errors, 1e-12))
    return np.asarray(solution, dtype=np.float64), int(rank)


def predict(calibration: Calibration, rows_us: float, rows: int) -> float:
    """Latency of a whole network in microseconds."""
    return calibration.intercept_us + calibration.slope * (rows_us + calibration.per_op_us * rows)


def validate(calibration: Calibration, networks: Sequence[Measured]) -> Validation:
    """How far the calibrated sums are from networks that the fit has not seen.

    The margin comes from judged latency; a network that was never left undisturbed counts with its floor instead, as a
    median of disturbed rounds says more of the neighbours than of the table.
    """
    from scipy.stats import kendalltau, spearmanr

    predicted = np.array([predict(calibration, network.rows_us, network.rows) for network in networks])
    floor = np.array([network.floor_us for network in networks])
    verdict_us = np.array([network.median_us or network.floor_us for network in networks])
    first, second = np.array([network.halves_us for network in networks]).T
    error = np.abs(predicted / floor - 1.0)
    return Validation(
        n=len(networks),
        spearman=_finite(spearmanr(predicted, floor).statistic),
        kendall=_finite(kendalltau(predicted, floor).statistic),
        mape=float(error.mean()),
        within_5=float((error <= 0.05).mean()),
        within_10=float((error <= 0.10).mean()),
        sigma=trimmed_rms(verdict_us / predicted - 1.0),
        repeatability=float(np.abs(second / first - 1.0).mean()),
    )


def trimmed_rms(values: NDArray[np.float64]) -> float:
    """Root mean square without the largest tenth of the values: one burst must not set the margin of every search."""
    kept = np.sort(np.abs(values))[: max(1, int(np.ceil(0.9 * len(values))))]
    return float(np.sqrt(np.mean(kept**2)))


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else 0.0


def pairs_of(calibration: Calibration, networks: Sequence[Measured]) -> list[list[float]]:
    """(predicted, measured) undisturbed latency of each network, in milliseconds, in whole nanoseconds."""
    return [
        [round(predict(calibration, one.rows_us, one.rows) / 1e3, 6), round(one.floor_us / 1e3, 6)] for one in networks
    ]


def too_far_off(validation: Validation) -> str:
    """Why predictions with this error are not fit to search with, in a phrase; empty where they are.

    The rule and its reasons are those of docs/decisions/0018: more than 10 % of error, or more than 5 % in a wrong
    order (Spearman below 0.9), and in either case more than twice what the same networks differ by when they are
    measured twice.
    """
    if validation.mape <= max(_SMALL_ERROR, 2 * validation.repeatability):
        return ""
    error = f"its predictions are off by {validation.mape:.1%} on average on {validation.n} networks"
    twice = f"the same networks measured twice differ by {validation.repeatability:.1%}"
    if validation.mape > LARGEST_ERROR:
        return f"{error}, more than {LARGEST_ERROR:.0%}; {twice}"
    if validation.spearman < SMALLEST_SPEARMAN:
        return f"{error} and rank them with a Spearman of {validation.spearman:.2f} only; {twice}"
    return ""
