"""What the tables of known devices say of the ops of a space on another one. Pure functions; see `OpPrior`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.errors import InputError
from hwnas.latency.op_posterior import OpPrior
from hwnas.latency.table import Calibration, LatencyTable
from hwnas.latency.transfer import Floats, WeightPrior

_ALIKE: tuple[Callable[[OpSpec], tuple[object, ...]], ...] = (
    lambda op: (op.kind,),
    lambda op: (op.kind, op.se > 0),
    lambda op: (op.kind, op.kernel, op.start),
    lambda op: (op.kind, op.inner / op.cin),
    lambda op: (op.height, op.width),
)
_SHARED, _OWN = 0.1, 0.01
_GUESS = 0.5
_EXACT = 0.005  # in choosing networks
_NOISES = (0.01, 0.02, 0.04, 0.08, 0.16)
_SPREADS = (0.1, 0.3, 1.0, 3.0, 10.0)
_INTERCEPT = 0.03
_SMALLEST_US = 0.1


def priced(space: SearchSpace) -> tuple[OpSpec, ...]:
    """The ops of a space that cost anything."""
    return tuple(spec for spec in space.ops if spec.graph.nodes)


def op_counts(ops: Sequence[OpSpec], networks: Sequence[Network]) -> Floats:
    """(n, 1 + ops) features of networks: a one for what is paid once, and how often each op stands in the network."""
    column = {spec.key: index for index, spec in enumerate(ops, 1)}
    counts = np.zeros((len(networks), 1 + len(ops)))
    counts[:, 0] = 1.0
    for row, network in zip(counts, networks, strict=True):
        for _, spec in network.ops:
            if spec.graph.nodes:
                row[column[spec.key]] += 1.0
    return counts


def op_weights_ms(table: LatencyTable, ops: Sequence[OpSpec], signature: str) -> Floats:
    """(1 + ops,) what `op_counts` are multiplied with on the device of a table, by its calibration.

    Args:
        signature: of a space instance. Where the table is calibrated for another one only, the rows count as they are.

    Raises:
        MissingRowsError: the table lacks one of the ops.
    """
    fitted = table.calibrations.get(signature, Calibration(1.0, 0.0, 0.0, 0))
    rows_us = np.array([1e3 * table.row_ms(spec) for spec in ops])
    ops_us = np.maximum(fitted.slope * (rows_us + fitted.per_op_us), _SMALLEST_US)
    return np.concatenate([[fitted.intercept_us], ops_us]) / 1e3


def op_prior(ops: Sequence[OpSpec], sources_ms: Floats, counts: Floats) -> OpPrior:
    """The prior over what ops take on a device that is none of the sources.

    An op takes s · m · exp(d): s any scale, m its mean over the sources (each divided by its mean network), and d a
    deviation. Deviations are as those of the sources, and beyond them those of one kind, of one kernel, expansion or
    squeeze-excite of a kind, of one map size, and of each op on its own. How large the latter are follows from what
    the sources differ by, and from a guess of 50 % that counts as much as one source. So one source is enough for a
    prior, and several that differ leave more to the measurements than several that agree. A device may still be less
    like the sources than they are like each other, or more: the measurements choose among spreads of these deviations.

    Args:
        ops: those of `priced`.
        sources_ms: (devices, 1 + ops) of `op_weights_ms`.
        counts: (n, 1 + ops) of networks, a spread of the whole space.

    Raises:
        InputError: there is no source, or one whose mean network takes no time.
    """
    mean_ms = np.asarray(sources_ms) @ counts.mean(0)
    if not len(mean_ms) or not (mean_ms > 0).all():
        raise InputError(f"a prior needs one device or more with positive latencies, not means of {mean_ms} ms")
    relative = sources_ms / mean_ms[:, None]
    mean = relative.mean(0)
    off = relative[:, 1:] / mean[1:] - 1.0
    devices = len(off)
    variance = (_GUESS**2 + float(np.mean(off**2, axis=1).sum())) / devices
    deviations = off.T @ off / max(devices - 1, 1)
    for feature in _ALIKE:
        named = [feature(spec) for spec in ops]
        deviations += _SHARED * variance * np.array([[float(one == other) for other in named] for one in named])
    deviations += _OWN * variance * np.eye(len(ops))
    covariance = np.zeros((1 + len(ops), 1 + len(ops)))
    covariance[0, 0] = max(float(np.mean((relative[:, 0] - mean[0]) ** 2)), _INTERCEPT**2)
    covariance[1:, 1:] = deviations * np.outer(mean[1:], mean[1:])
    return OpPrior(WeightPrior(mean, covariance, (_EXACT,)), _NOISES, _SPREADS)
