"""The latency of a space on a new device from a few measured networks and other devices' latencies, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwnas.errors import InputError
from hwnas.latency.additive_latency import AdditiveLatency

Floats = NDArray[np.float64]
Choices = Sequence[Sequence[int]] | NDArray[np.integer]

_ALONE = 0.2
_SAVES = 0.3
_ANY_SCALE = 4.0
_TAILS = 4.0
_REWEIGHTINGS = 4
_SMALLEST_SHARE = 0.1


@dataclass(frozen=True)
class WeightPrior:
    """What is known of a device that nothing was measured on: `latency = s · (row · w + noise)`, any s > 0.

    `w` is normal and has no unit: a device's latencies are divided by their mean.

    Attributes:
        mean, covariance: (p,) and (p, p) of `w`.
        noises: standard deviations that a network of mean latency may have from its sum; the variance of others is in
            proportion to their latency.
    """

    mean: Floats
    covariance: Floats
    noises: tuple[float, ...]

    def noise_shape(self, rows: Floats) -> Floats:
        """(n,) variance of each network's noise over that of a network of mean latency."""
        return np.maximum(rows @ self.mean, _SMALLEST_SHARE)

    def pick(self, rows: Floats, count: int) -> list[int]:
        """The networks to measure, best first: each lessens the mean variance of all predictions the most.

        Greedy V-optimal design; the latencies that will be measured play no part in it, so a device can be measured in
        one go, and the first k of more networks are those that would be picked if k were asked for.
        """
        measuring, covariance = _Measuring(self, rows), self._at_any_scale
        picked: list[int] = []
        for _ in range(min(count, len(rows))):
            gain, spread, variance = measuring.gain(covariance)
            gain[picked] = -np.inf
            best = int(gain.argmax())
            picked.append(best)
            covariance = covariance - np.outer(spread[best], spread[best]) / variance[best]
        return picked

    def design(self, rows: Floats, count: int) -> list[int]:
        """The networks to measure where the number is known: `pick`, and one round of exchange.

        Each network in turn makes way for the one that, beside the others, lessens the mean variance the most (Fedorov,
        1972). A greedy choice is good at every length and best at none; further rounds change little.
        """
        measuring, picked = _Measuring(self, rows), self.pick(rows, count)
        for place in range(len(picked)):
            others = picked[:place] + picked[place + 1 :]
            gain, _, _ = measuring.gain(measuring.after(self._at_any_scale, others))
            gain[others] = -np.inf
            picked[place] = int(gain.argmax())
        return picked

    @property
    def _at_any_scale(self) -> Floats:
        return self.covariance + _ANY_SCALE * np.outer(self.mean, self.mean)

    def adapt(self, rows: Floats, measured_ms: Sequence[float] | Floats) -> LatencyPosterior:
        """What the device is like, given the latencies of some networks.

        For each level of noise, `w` and `s` have a closed form (a normal with a flat prior on `s`:
        Rasmussen and Williams, 2006, eq. 2.41-2.42); they are averaged by the likelihood of what was measured. A
        network that its fellows do not explain counts for less, as Student's t with 4 degrees of freedom has it. If all
        latencies are whole milliseconds, rounding adds 1/12 ms² to their variance.

        Args:
            rows: (n, p) of the measured networks.
            measured_ms: (n,) their latencies.

        Raises:
            InputError: nothing was measured, or a latency is not positive.
        """
        y = np.asarray(measured_ms, dtype=np.float64)
        if not len(y) or len(y) != len(rows) or not (y > 0).all():
            raise InputError(f"a device needs one positive latency for each measured network, not {y.tolist()}")
        found = [self._at(rows, y, noise) for noise in self.noises]
        likelihood = np.array([one.log_likelihood for one in found])
        share = np.exp(likelihood - likelihood.max())
        share /= share.sum()
        mean = share @ np.stack([one.mean for one in found])
        off = np.stack([one.mean for one in found]) - mean
        within = np.tensordot(share, np.stack([one.covariance for one in found]), 1)
        noise_ms = np.sqrt(
            share @ np.square([one.scale_ms * noise for one, noise in zip(found, self.noises, strict=True)])
        )
        return LatencyPosterior(self, mean, within + (off.T * share) @ off, float(noise_ms))

    def _at(self, rows: Floats, y: Floats, noise: float) -> _Conditioned:
        t = rows @ self.mean
        cross = self.covariance @ rows.T
        first = scale = float(y @ t / (t @ t))
        rounding_ms2 = 1.0 / 12.0 if (y == y.round()).all() else 0.0
        weight = np.ones_like(y)
        for _ in range(_REWEIGHTINGS):  # rounding is known in milliseconds, all else in units of s
            variance = noise**2 * self.noise_shape(rows) / weight + rounding_ms2 / scale**2
            inverse = np.linalg.inv(rows @ cross + np.diag(variance))
            scale = max(float(t @ inverse @ y) / float(t @ inverse @ t), first / 3.0)
            left_out = (inverse @ (y / scale - t)) ** 2 / np.diag(inverse)  # squared, over its variance
            weight = np.minimum((_TAILS + 1.0) / (_TAILS + left_out), 1.0)
        rest = y / scale - t
        of_scale = self.mean - cross @ (inverse @ t)
        information = float(t @ inverse @ t)
        likelihood = 0.5 * float(np.linalg.slogdet(inverse)[1]) - 0.5 * float(np.log(information))
        likelihood -= 0.5 * float(rest @ inverse @ rest) + (len(y) - 1) * float(np.log(scale / first))
        covariance = self.covariance - cross @ inverse @ cross.T + np.outer(of_scale, of_scale) / information
        return _Conditioned(likelihood, scale * (self.mean + cross @ (inverse @ rest)), scale**2 * covariance, scale)


class _Measuring:
    """What measuring one network more would tell of all."""

    def __init__(self, prior: WeightPrior, rows: Floats) -> None:
        self._rows, self._noise = rows, min(prior.noises) ** 2 * prior.noise_shape(rows)
        self._second = rows.T @ rows / len(rows)

    def gain(self, covariance: Floats) -> tuple[Floats, Floats, Floats]:
        """(n,) by how much each would lessen the mean variance; (n, p) its covariance with `w`; (n,) its variance."""
        spread = self._rows @ covariance
        variance = (spread * self._rows).sum(1) + self._noise
        return ((spread @ self._second) * spread).sum(1) / variance, spread, variance

    def after(self, covariance: Floats, measured: Sequence[int]) -> Floats:
        """The covariance of `w` once these networks are measured."""
        rows = self._rows[list(measured)]
        cross = covariance @ rows.T
        left: Floats = covariance - cross @ np.linalg.solve(
            rows @ cross + np.diag(self._noise[list(measured)]), cross.T
        )
        return left


@dataclass(frozen=True)
class Prior(WeightPrior):
    """The prior over the options of a space that other devices give, by their latencies of whole networks.

    Its mean and covariance are those of the sources, plus what sources cannot show: an option may cost more or less
    wherever it stands, and on its own. Where networks have dead ops (nothing reads what they compute), one more weight
    says which share of such an op's cost a runtime saves by leaving it out: 0 where it runs what it is given, 1 where
    it removes them first.

    Attributes:
        mean, covariance: (p,) and (p, p) of `w`: of the mean latency, of each option, of what dead ops save.
        options: number of options per decision.
        centre: (Σ options,) share of the sources' networks that has each option.
    """

    options: tuple[int, ...]
    centre: Floats

    def rows(self, choices: Choices, without_dead: Choices | None = None) -> Floats:
        """(n, p) features of networks.

        Args:
            choices: (n, decisions).
            without_dead: the same with dead ops replaced by the option that is no op; None where there are none.
        """
        coded = one_hot(self.options, choices)
        saved = np.zeros((len(coded), 1))
        if without_dead is not None:
            saved = (one_hot(self.options, without_dead) - coded) @ self.mean[1:-1, None]
        return np.hstack([np.ones_like(saved), coded - self.centre, saved])

    def latency_model(self, found: LatencyPosterior, rows: Floats) -> AdditiveLatency:
        """The additive part, for searches; what dead ops may save is left out, so such networks are overrated.

        Args:
            found: what `adapt` returned.
            rows: (n, p) of networks of the space, whose mean relative deviation becomes the model's `sigma`.
        """
        ends = np.cumsum(self.options)[:-1]
        costs_ms = tuple(tuple(map(float, part)) for part in np.split(found.mean[1:-1], ends))
        fixed_ms = float(found.mean[0] - found.mean[1:-1] @ self.centre)
        return AdditiveLatency(costs_ms, fixed_ms, sigma=found.sigma(rows))


@dataclass(frozen=True)
class _Conditioned:
    """`s · w` in milliseconds at one level of noise."""

    log_likelihood: float
    mean: Floats
    covariance: Floats
    scale_ms: float


@dataclass(frozen=True)
class LatencyPosterior:
    """The weights of a device.

    Attributes:
        mean, covariance: (p,) in ms and (p, p) in ms², of what rows are multiplied with.
        noise_ms: standard deviation of a network of mean latency from its sum.
    """

    prior: WeightPrior
    mean: Floats
    covariance: Floats
    noise_ms: float

    def predict_ms(self, rows: Floats) -> Floats:
        """(n,) expected latencies."""
        expected: Floats = rows @ self.mean
        return expected

    def deviation_ms(self, rows: Floats) -> Floats:
        """(n,) standard deviations of measured latencies from `predict_ms`."""
        of_weights = np.maximum(((rows @ self.covariance) * rows).sum(1), 0.0)
        deviation: Floats = np.sqrt(of_weights + self.noise_ms**2 * self.prior.noise_shape(rows))
        return deviation

    def sigma(self, rows: Floats) -> float:
        """Mean relative deviation of these networks, the `sigma` of a latency model."""
        predicted = self.predict_ms(rows)
        return float(np.mean(self.deviation_ms(rows) / np.maximum(predicted, _SMALLEST_SHARE * predicted.mean())))


def learn_prior(
    options: Sequence[int],
    choices: Choices,
    sources_ms: Floats,
    without_dead: Choices | None = None,
    *,
    unlike: float = 10.0,
) -> Prior:
    """The prior that devices give on which the same networks were measured.

    Args:
        options: number of options per decision.
        choices: (n, decisions) of the networks, a spread of the whole space.
        sources_ms: (devices, n) their latencies.
        without_dead: as `Prior.rows` takes it.
        unlike: variance of what an option costs wherever it stands, beyond what the sources and their covariance show,
            over the mean square of what it differs by among them. 10 lets the measured networks decide, which a new
            family of devices needs; 0 trusts the sources, which pays where many decisions meet few measurements.

    Raises:
        InputError: a device has no positive mean latency, or there are fewer than two devices.
    """
    mean_ms = np.asarray(sources_ms).mean(1)
    if len(mean_ms) < 2 or not (mean_ms > 0).all():
        raise InputError(f"a prior needs two devices or more with positive latencies, not means of {mean_ms} ms")
    coded = one_hot(options, choices)
    centre = coded.mean(0)
    centred = coded - centre
    relative = sources_ms / mean_ms[:, None] - 1.0
    weights = np.linalg.solve(centred.T @ centred + np.eye(len(centre)), centred.T @ relative.T).T
    noises = (relative - weights @ centred.T).std(1)
    mean = weights.mean(0)
    off = weights - mean
    named = [(count, option) for count in options for option in range(count)]
    same = np.array([[float(one == other) for other in named] for one in named])
    wherever = off @ same / same.sum(0)
    p = len(mean) + 2
    covariance = np.zeros((p, p))
    covariance[1:-1, 1:-1] = off.T @ off / (len(off) - 1)
    covariance[1:-1, 1:-1] += unlike * float(np.mean(wherever**2)) * same
    covariance[1:-1, 1:-1] += _ALONE * float(np.mean((off - wherever) ** 2)) * np.eye(len(mean))
    covariance[-1, -1] = 0.0 if without_dead is None else _SAVES
    levels = np.maximum(np.sort(noises), np.median(noises))  # the half of optimists would trust a few networks too much
    weighted = np.concatenate([[1.0], mean, [0.0]])
    return Prior(weighted, covariance, tuple(map(float, levels)), tuple(options), centre)


def one_hot(options: Sequence[int], choices: Choices) -> Floats:
    """(n, Σ options) 0/1 columns."""
    starts = np.concatenate([[0], np.cumsum(options)])
    coded = np.zeros((len(choices), int(starts[-1])))
    coded[np.arange(len(choices))[:, None], np.asarray(choices, dtype=np.intp) + starts[:-1]] = 1.0
    return coded
