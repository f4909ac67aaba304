"""Gaussian process regression over categorical choices, in closed form. Pure numbers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import ndtr, ndtri

from hwnas.nas.choice_set import Features

Floats = NDArray[np.float64]

_RATES = (6.7, 3.3, 1.7, 0.8)
_SHARED_RATES = (50.0, 10.0, 2.0, 0.0)
_NOISES = (0.01, 0.03, 0.1, 0.3)
_FINE_SCALE = 8.0


class Codes:
    """Architectures as 0/1 rows, one column per option of each decision, and the columns that share an option.

    Options of decisions with equally many options are taken to be the same ones, in the same order.
    """

    def __init__(self, options: Sequence[int]) -> None:
        self.decisions = len(options)
        self._starts = np.concatenate([[0], np.cumsum(options)])
        keys = [(count, option) for count in options for option in range(count)]
        names = {key: index for index, key in enumerate(dict.fromkeys(keys))}
        self._shared = np.zeros((len(keys), len(names)))
        self._shared[np.arange(len(keys)), [names[key] for key in keys]] = 1.0

    def rows(self, choices: Sequence[Sequence[int]]) -> Floats:
        """(n, Σ options) rows of n architectures."""
        coded = np.zeros((len(choices), self._starts[-1]))
        at = np.asarray(choices, dtype=np.intp).reshape(-1, self.decisions) + self._starts[:-1]
        coded[np.arange(len(choices))[:, None], at] = 1.0
        return coded

    def distances(self, left: Floats, right: Floats) -> tuple[Floats, Floats]:
        """(n, m) shares of decisions that differ; and mean squared differences of how often options are chosen."""
        differ = 1.0 - left @ right.T / self.decisions
        return differ, _squared(left @ self._shared / self.decisions, right @ self._shared / self.decisions)


class FeatureCodes:
    """Codes of architectures by their features, fine and coarse ones, whatever the choices that they come from."""

    def __init__(self, options: Sequence[int], features: Features) -> None:
        self._features, self._decisions = features, len(options)
        self._places: dict[tuple[int, ...], int] = {}  # rows of both tables
        self._fine, self._coarse = _Counts(), _Counts()

    def rows(self, choices: Sequence[Sequence[int]]) -> Floats:
        """(n, 1) rows of n architectures, which say where their features are."""
        wanted = [tuple(one) for one in choices]
        fresh = [one for one in dict.fromkeys(wanted) if one not in self._places]
        if fresh:
            self._places |= {one: place for place, one in enumerate(fresh, len(self._places))}
            found = [self._features(one) for one in fresh]
            self._fine.add([fine for fine, _ in found])
            self._coarse.add([coarse for _, coarse in found])
        return np.array([[self._places[one]] for one in wanted], dtype=np.float64).reshape(-1, 1)

    def distances(self, left: Floats, right: Floats) -> tuple[Floats, Floats]:
        """(n, m) squared differences of how often features are there: of fine ones, and of coarse ones."""
        a, b = (side[:, 0].astype(np.intp) for side in (left, right))
        fine, coarse = self._fine.table, self._coarse.table / self._decisions
        return _squared(fine[a], fine[b]) / _FINE_SCALE, _squared(coarse[a], coarse[b])


class _Counts:
    """How often each feature is there: a row for each architecture, a column for each feature that was seen."""

    def __init__(self) -> None:
        self.table = np.zeros((0, 0))
        self._columns: dict[Hashable, int] = {}

    def add(self, counts: Sequence[Mapping[Any, float]]) -> None:
        """Rows of further architectures."""
        for feature in (feature for one in counts for feature in one):
            self._columns.setdefault(feature, len(self._columns))
        known, width = self.table.shape
        table = np.zeros((known + len(counts), len(self._columns)))
        table[:known, :width] = self.table
        for row, one in zip(table[known:], counts, strict=True):
            row[[self._columns[feature] for feature in one]] = list(one.values())
        self.table = table


def _squared(a: Floats, b: Floats) -> Floats:
    """(n, m) squared distances of n and m rows."""
    squares: Floats = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2.0 * a @ b.T, 0.0)
    return squares


@dataclass(frozen=True)
class Kernel:
    """`k(x, x') = exp(-rate · h - shared_rate · c)`, h and c as `distances` of the codes are; plus `noise` at x = x'.

    Both factors are positive definite. With `Codes` the first is a product over the decisions, the second the Gaussian
    kernel of how often each option is chosen wherever it stands; with `FeatureCodes` both are Gaussian kernels.
    """

    rate: float
    shared_rate: float
    noise: float

    def __call__(self, distances: tuple[Floats, Floats]) -> Floats:
        differ, shared = distances
        values: Floats = np.exp(-self.rate * differ - self.shared_rate * shared)
        return values


def likeliest(distances: tuple[Floats, Floats], z: Floats, trend: Floats) -> Kernel:
    """The kernel with the largest restricted likelihood on a grid.

    Args:
        distances: (n, n) each, among the scored architectures.
        z: (n,) scores.
        trend: (n, q) columns whose coefficients have a flat prior; q < n.
    """
    best, kernel = -np.inf, Kernel(_RATES[-1], 0.0, _NOISES[-1])
    noises = np.array(_NOISES)[:, None]
    for rate in _RATES:
        for shared_rate in _SHARED_RATES:
            values, vectors = np.linalg.eigh(Kernel(rate, shared_rate, 0.0)(distances))
            spread = np.maximum(values, 0.0) + noises  # (noises, n)
            fit = _fit((vectors.T @ z) / np.sqrt(spread), (vectors.T @ trend) / np.sqrt(spread)[:, :, None])
            likelihoods = fit.log_likelihood(np.log(spread).sum(-1))
            at = int(likelihoods.argmax())
            if likelihoods[at] > best:
                best, kernel = float(likelihoods[at]), Kernel(rate, shared_rate, _NOISES[at])
    return kernel


@dataclass(frozen=True)
class _Fit:
    """Least squares of whitened scores on whitened trend columns; leading axes are separate problems."""

    coefficients: Floats
    residual: Floats
    variance: Floats
    information: Floats

    def log_likelihood(self, log_determinant: Floats) -> Floats:
        """Restricted: the coefficients are integrated out, the variance is the best one."""
        freedom = self.residual.shape[-1] - self.coefficients.shape[-1]
        likelihood: Floats = -0.5 * (
            freedom * np.log(self.variance) + log_determinant + np.linalg.slogdet(self.information)[1]
        )
        return likelihood


def _fit(z: Floats, trend: Floats) -> _Fit:
    """z: (..., n); trend: (..., n, q)."""
    across = np.swapaxes(trend, -1, -2)
    information = across @ trend + 1e-9 * np.eye(trend.shape[-1])
    coefficients = np.asarray(np.linalg.solve(information, across @ z[..., None]), dtype=np.float64)
    residual = z - (trend @ coefficients)[..., 0]
    freedom = max(1, z.shape[-1] - trend.shape[-1])
    return _Fit(coefficients[..., 0], residual, np.maximum(1e-12, (residual**2).sum(-1) / freedom), information)


class GpPosterior:
    """What scored architectures say of candidates: universal kriging (Rasmussen and Williams, 2006, eq. 2.41-2.42)."""

    def __init__(self, codes: Codes | FeatureCodes, kernel: Kernel, seen: Floats) -> None:
        """Factorise once; `add` then costs O(n · (n + candidates)).

        Args:
            seen: (n, columns) rows of the scored architectures.
        """
        self._codes, self._kernel, self._seen, self._candidates = codes, kernel, seen, seen[:0]
        self._factor = np.linalg.cholesky(kernel(codes.distances(seen, seen)) + kernel.noise * np.eye(len(seen)))
        self._whitened = np.zeros((len(seen), 0))

    def consider(self, rows: Floats) -> None:
        """Candidates, (m, columns), behind those that there are."""
        cross = self._kernel(self._codes.distances(self._seen, rows))
        self._whitened = np.hstack([self._whitened, solve_triangular(self._factor, cross, lower=True)])
        self._candidates = np.vstack([self._candidates, rows])

    def add(self, row: Floats) -> None:
        """One more scored architecture, (1, columns)."""
        beside = self._kernel(self._codes.distances(self._seen, row))[:, 0]
        left = solve_triangular(self._factor, beside, lower=True)
        corner = np.sqrt(max(1.0 + self._kernel.noise - float(left @ left), 1e-9))
        count = len(self._seen)
        factor = np.zeros((count + 1, count + 1))
        factor[:count, :count], factor[count, :count], factor[count, count] = self._factor, left, corner
        cross = self._kernel(self._codes.distances(row, self._candidates))
        self._whitened = np.vstack([self._whitened, (cross - left @ self._whitened) / corner])
        self._factor, self._seen = factor, np.vstack([self._seen, row])

    def weights(self, z: Floats, trend: Floats) -> Floats:
        """(n,) weights of the scored ones: the mean elsewhere is `trend · coefficients + k(x, seen) · weights`.

        Args:
            z: (n,) scores.
            trend: (n, q) columns whose coefficients have a flat prior.
        """
        white = solve_triangular(self._factor, np.column_stack([z, trend]), lower=True)
        residual = _fit(white[:, 0], white[:, 1:]).residual
        weights: Floats = solve_triangular(self._factor, residual, lower=True, trans="T")
        return weights

    def predict(self, z: Floats, trend: Floats, candidate_trend: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation, (m,) each, of the candidates without noise.

        A guess is left out while it would count negatively: among good architectures alone it may seem to, and what it
        thinks worst of would then be believed best.

        Args:
            z: (n,) scores.
            trend: (n, q) columns whose coefficients have a flat prior.
            candidate_trend: (m, q), the same for the candidates.
        """
        white = solve_triangular(self._factor, np.column_stack([z, trend]), lower=True)
        fit = _fit(white[:, 0], white[:, 1:])
        if (fit.coefficients[1:] < 0.0).any():
            return self.predict(z, trend[:, :1], candidate_trend[:, :1])
        mean = candidate_trend @ fit.coefficients + fit.residual @ self._whitened
        rest = candidate_trend - self._whitened.T @ white[:, 1:]
        of_trend = (rest * np.linalg.solve(fit.information, rest.T).T).sum(1)
        variance = 1.0 - (self._whitened**2).sum(0) + of_trend
        return mean, np.sqrt(fit.variance * np.maximum(variance, 1e-9))


def normal_quantiles(scores: Sequence[float] | Floats) -> Floats:
    """(n,) quantiles of the standard normal distribution that the ranks stand for; ties share one."""
    from scipy.stats import rankdata  # half a second that few commands need

    quantiles: Floats = ndtri((rankdata(scores) - 0.5) / len(scores))
    return quantiles


def winsorised(scores: Sequence[float]) -> Floats:
    """(n,) scores with mean 0 and standard deviation 1, or all 0; failures do not stretch the scale.

    What is further below the median than four times what the best tenth is above it counts as if it were just there;
    above the lowest quarter scores stay as they are.
    """
    median, high = np.quantile(scores, (0.5, 0.9))
    quarter = np.quantile(scores, 0.25, method="higher")
    kept = np.maximum(scores, min(quarter, median - 4.0 * (high - median)))
    centred: Floats = kept - kept.mean()
    spread = float(centred.std())
    return centred / spread if spread > 0.0 else np.zeros(len(centred))


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """E[max(0, f - best)] for normal f (Jones et al., 1998, eq. 15)."""
    gap = (mean - best) / deviation
    gain: Floats = deviation * (gap * ndtr(gap) + np.exp(-0.5 * gap**2) / np.sqrt(2.0 * np.pi))
    return gain
