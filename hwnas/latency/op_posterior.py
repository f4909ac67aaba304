"""The latencies of a space's ops on a new device, from a few measured networks and other devices' tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwnas.errors import InputError
from hwnas.latency.transfer import Floats, WeightPrior

_LEAST_ONCE, _SPREAD_ONCE = 0.01, 1.0


@dataclass(frozen=True)
class OpPrior:
    """What is known of a device that nothing was measured on.

    `latency = s · (counts · m · exp(d)) · exp(noise)`: any scale s > 0, m the mean of the sources, deviations d normal
    around 0. So every op takes a positive time, and twice as long is as likely as half. What is paid once a call takes
    at least 1 % of a mean network on the mean source, and its deviation is 1, whatever those of the sources.

    Attributes:
        linear: the same with w = m · (1 + d), which says which networks tell most.
        noises: standard deviations that a network may have from its sum, as a share.
        spreads: what the covariance of d may have to be multiplied with.
    """

    linear: WeightPrior
    noises: tuple[float, ...]
    spreads: tuple[float, ...]

    @property
    def mean(self) -> Floats:
        """(1 + ops,): m, of what is paid once and of each op; it has no unit, a mean network takes 1."""
        return np.maximum(self.linear.mean, [_LEAST_ONCE] + [0.0] * (len(self.linear.mean) - 1))

    @property
    def covariance(self) -> Floats:
        """(1 + ops, 1 + ops) of d, before that of the ops is spread."""
        found = self.linear.covariance / np.outer(self.mean, self.mean)
        found[0] = found[:, 0] = 0.0
        found[0, 0] = _SPREAD_ONCE**2
        return found

    def design(self, counts: Floats, samples: int) -> list[int]:
        """The networks to measure; see `WeightPrior.design`."""
        return self.linear.design(counts, samples)

    def adapt(self, counts: Floats, measured_ms: Sequence[float] | Floats) -> OpPosterior:
        """What the device is like, given the latencies of some networks.

        For each level of noise and of spread, the most probable s and d by least squares, and Laplace's
        approximation around them (MacKay, 2003, chapter 27); the levels are averaged by its evidence.

        Args:
            counts: (n, 1 + ops) of the measured networks, as `op_counts` makes them.
            measured_ms: (n,) their latencies.

        Raises:
            InputError: nothing was measured, or a latency is not positive.
        """
        y = np.asarray(measured_ms, dtype=np.float64)
        if not len(y) or len(y) != len(counts) or not (y > 0).all():
            raise InputError(f"a device needs one positive latency for each measured network, not {y.tolist()}")
        root = _root(self.covariance)
        once = np.arange(len(root)) == 0
        levels = [(spread, noise) for spread in self.spreads for noise in self.noises]
        roots = [np.where(once[:, None], 1.0, np.sqrt(spread)) * root for spread, _ in levels]
        found = [_Fit.of(self.mean, own, counts, y, noise) for own, (_, noise) in zip(roots, levels, strict=True)]
        evidence = np.array([one.log_evidence for one in found])
        share = np.exp(evidence - evidence.max())
        share /= share.sum()
        means = np.stack([one.mean_ms for one in found])
        mean = share @ means
        off = means - mean
        within = np.tensordot(share, np.stack([one.covariance for one in found]), 1)
        noise = float(np.sqrt(share @ np.square([noise for _, noise in levels])))
        return OpPosterior(mean, within + (off.T * share) @ off, noise)


@dataclass(frozen=True)
class OpPosterior:
    """The ops of a device.

    Attributes:
        mean, covariance: (1 + ops,) in ms, positive, and (1 + ops, 1 + ops) in ms², of what counts are multiplied with.
        noise: standard deviation of a network from its sum, as a share.
    """

    mean: Floats
    covariance: Floats
    noise: float

    def predict_ms(self, counts: Floats) -> Floats:
        """(n,) expected latencies."""
        expected: Floats = counts @ self.mean
        return expected

    def deviation_ms(self, counts: Floats) -> Floats:
        """(n,) standard deviations of measured latencies from `predict_ms`."""
        of_ops = np.maximum(((counts @ self.covariance) * counts).sum(1), 0.0)
        deviation: Floats = np.sqrt(of_ops + (self.noise * self.predict_ms(counts)) ** 2)
        return deviation


@dataclass(frozen=True)
class _Fit:
    """The most probable weights at one level of noise and spread."""

    log_evidence: float
    mean_ms: Floats
    covariance: Floats

    @staticmethod
    def of(mean: Floats, root: Floats, counts: Floats, y: Floats, noise: float) -> _Fit:
        """Unknown are x = (log s, d in deviations: d = root · x); all but the first are standard normal."""
        t = counts @ mean
        start = np.zeros(1 + root.shape[1])
        start[0] = np.log(y @ t / (t @ t))

        def weights(x: Floats) -> Floats:
            found: Floats = mean * np.exp(x[0] + root @ x[1:])
            return found

        def slopes(x: Floats) -> Floats:
            """(1 + ops, unknowns) of the weights."""
            return weights(x)[:, None] * np.hstack([np.ones((len(mean), 1)), root])

        def residuals(x: Floats) -> Floats:
            return np.concatenate([np.log(counts @ weights(x) / y) / noise, x[1:]])

        def jacobian(x: Floats) -> Floats:
            of_logarithms = counts @ slopes(x) / (counts @ weights(x))[:, None]
            return np.vstack([of_logarithms / noise, np.eye(len(x))[1:]])

        from scipy.optimize import least_squares  # half a second that few commands need

        x = least_squares(residuals, start, jac=jacobian, method="lm").x
        triangular = np.asarray(np.linalg.qr(jacobian(x), mode="r"), dtype=np.float64)
        off = residuals(x)
        evidence = -0.5 * (off @ off) - np.log(np.abs(np.diag(triangular))).sum() - len(y) * np.log(noise)
        through = np.linalg.solve(triangular.T, slopes(x).T)
        return _Fit(float(evidence), weights(x), through.T @ through)


def _root(covariance: Floats) -> Floats:
    """A matrix whose product with its transpose is the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
