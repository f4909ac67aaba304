"""Ops of a device from a few networks: Laplace's approximation against closed forms and a search for the maximum."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from hwnas.errors import InputError
from hwnas.latency.op_posterior import OpPrior
from hwnas.latency.transfer import Floats, WeightPrior

MEAN = np.array([0.1, 0.3, 0.5, 0.2])
OF_D = np.array([[0.3, 0.1, 0.0], [0.1, 0.4, 0.05], [0.0, 0.05, 0.2]])
COUNTS = np.array([[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 2.0, 1.0], [1.0, 3.0, 0.0, 1.0]])
MEASURED_MS = np.array([4.0, 9.0, 6.0])


def a_prior(noise: float = 0.05, spread: float = 1.0) -> OpPrior:
    covariance = np.zeros((4, 4))
    covariance[1:, 1:] = OF_D * np.outer(MEAN[1:], MEAN[1:])
    return OpPrior(WeightPrior(MEAN, covariance, (noise,)), (noise,), (spread,))


def test_deviations_are_relative_and_what_is_paid_once_is_positive() -> None:
    assert a_prior().covariance[1:, 1:] == pytest.approx(OF_D)
    assert a_prior().covariance[0] == pytest.approx([1.0, 0.0, 0.0, 0.0])
    negative = np.concatenate([[-0.2], MEAN[1:]])
    prior = dataclasses.replace(a_prior(), linear=dataclasses.replace(a_prior().linear, mean=negative))
    assert prior.mean == pytest.approx([0.01, *MEAN[1:]])


def test_one_network_tells_the_scale() -> None:
    """In closed form: s = y / t, and the network's own deviation is its noise twice, measured and to come."""
    for spread in (0.5, 5.0):
        found = a_prior(0.02, spread).adapt(COUNTS[:1], np.array([7.3]))
        assert found.mean == pytest.approx(7.3 / (COUNTS[0] @ MEAN) * MEAN)
        assert found.deviation_ms(COUNTS[:1])[0] ** 2 == pytest.approx(2 * (7.3 * 0.02) ** 2, rel=1e-5)


def test_the_fit_is_the_most_probable_one() -> None:
    """Against a search without gradients over the density as it is written down."""
    inverse = np.linalg.inv(OF_D)

    def minus_log_density(x: Floats) -> float:
        s, once, d = np.exp(x[0]), x[1], x[2:]
        predicted = s * (COUNTS[:, 0] * MEAN[0] * np.exp(once) + COUNTS[:, 1:] @ (MEAN[1:] * np.exp(d)))
        off = np.log(predicted / MEASURED_MS) / 0.05
        return float(0.5 * (off @ off + once**2 + d @ inverse @ d))

    tight = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 20_000, "maxfev": 20_000}
    best = minimize(minus_log_density, np.array([2.0, 0, 0, 0, 0]), method="Nelder-Mead", options=tight).x
    found = a_prior().adapt(COUNTS, MEASURED_MS)
    assert found.mean == pytest.approx(np.exp(best[0]) * MEAN * np.exp(best[1:]), rel=1e-4)


def test_small_deviations_are_those_of_the_linear_model() -> None:
    """Where nothing is off by more than a few per mille, exp(d) is 1 + d and the posterior is the normal one.

    Sources are trusted to a thousandth, nothing is paid once, and networks have the same latency, so the noise is the
    same share for both.
    """
    covariance = np.zeros((4, 4))
    covariance[1:, 1:] = 1e-6 * OF_D * np.outer(MEAN[1:], MEAN[1:])
    counts = np.array([[0.0, 1.0, 1.0, 1.0], [0.0, 2.0, 0.4, 1.0], [0.0, 0.0, 1.2, 2.0]])
    assert counts @ MEAN == pytest.approx(1.0)
    linear = WeightPrior(MEAN, covariance, (2e-3,))
    y = 5.0 * np.array([1.0, 1.001, 0.999])
    expected = linear.adapt(counts, y)
    found = OpPrior(linear, (2e-3,), (1.0,)).adapt(counts, y)
    assert found.mean[1:] == pytest.approx(expected.mean[1:], rel=1e-5)
    assert found.deviation_ms(counts) == pytest.approx(expected.deviation_ms(counts), rel=0.02)


def test_the_evidence_finds_noise_and_spread() -> None:
    """Of networks that keep to a sum the lower noise is believed, of others the higher one; the same for spreads."""
    rng = np.random.default_rng(0)
    counts = np.hstack([np.ones((60, 1)), rng.integers(0, 4, (60, 3))])
    both = dataclasses.replace(a_prior(), noises=(0.01, 0.2))
    for true_noise in (0.01, 0.2):
        y = counts @ MEAN * np.exp(true_noise * rng.normal(size=60))
        assert both.adapt(counts, y).noise == pytest.approx(true_noise, rel=0.1)
    unlike = counts @ (MEAN * [1.0, 6.0, 0.2, 3.0])
    narrow, wide, either = (dataclasses.replace(a_prior(0.02), spreads=s) for s in ((0.01,), (3.0,), (0.01, 3.0)))
    few = slice(0, 8)
    means = [one.adapt(counts[few], unlike[few]).mean for one in (narrow, wide, either)]
    assert means[2] == pytest.approx(means[1], rel=0.02)
    assert means[0] != pytest.approx(means[1], rel=0.1)


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3),
    st.sampled_from([0.1, 1.0, 10.0]),
    st.sampled_from([0.01, 0.16]),
)
def test_every_op_takes_a_positive_time_whatever_was_measured(y: list[float], spread: float, noise: float) -> None:
    found = a_prior(noise, spread).adapt(COUNTS, y)
    assert (found.mean[1:] > 0).all()
    assert np.isfinite(found.covariance).all()
    assert (np.diag(found.covariance) >= 0).all()
    assert np.isfinite(found.deviation_ms(COUNTS)).all()


@given(st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_matter(factor: float) -> None:
    one, other = (a_prior().adapt(COUNTS, scale * MEASURED_MS) for scale in (1.0, factor))
    assert other.mean == pytest.approx(factor * one.mean, rel=1e-4)
    assert other.deviation_ms(COUNTS) == pytest.approx(factor * one.deviation_ms(COUNTS), rel=1e-3)


@pytest.mark.parametrize("y", [[], [1.0, 2.0], [1.0, 2.0, 0.0], [1.0, 2.0, float("nan")]])
def test_latencies_that_are_none_are_refused(y: list[float]) -> None:
    with pytest.raises(InputError, match="one positive latency for each"):
        a_prior().adapt(COUNTS, y)
