"""Few-shot latency against brute-force Gaussian conditioning, and in worlds that the prior describes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.errors import InputError
from hwnas.latency.transfer import Floats, LatencyPosterior, Prior, learn_prior, one_hot

OPTIONS = (3, 3, 2)
CHOICES = np.array(list(itertools.product(*map(range, OPTIONS))))
WITHOUT_DEAD = np.where((CHOICES[:, 2] == 1)[:, None] & (np.arange(3) == 0), 0, CHOICES)
"""An op of decision 2 makes the first decision's dead."""


def sources(rng: np.random.Generator, devices: int = 5, noise: float = 0.01) -> Floats:
    """Latencies in ms of devices with a common pattern and own deviations, of all networks."""
    common = np.array([0.0, 1.0, 3.0, 0.0, 1.0, 3.0, 0.0, 2.0])
    weights = common * rng.uniform(0.5, 1.5, size=(devices, 8))
    ms = (4.0 + one_hot(OPTIONS, CHOICES) @ weights.T) * rng.uniform(0.5, 20.0, size=devices)
    return (ms * (1.0 + noise * rng.normal(size=ms.shape))).T


def a_prior(
    seed: int = 0, *, noises: tuple[float, ...] | None = None, dead: bool = False, unlike: float = 10.0
) -> Prior:
    without_dead = WITHOUT_DEAD if dead else None
    learned = learn_prior(OPTIONS, CHOICES, sources(np.random.default_rng(seed)), without_dead, unlike=unlike)
    return learned if noises is None else replace(learned, noises=noises)


def measured(found: LatencyPosterior, rows: Floats) -> tuple[Floats, Floats]:
    return found.predict_ms(rows), found.deviation_ms(rows)


def test_the_posterior_is_gaussian_conditioning() -> None:
    """Against a joint normal in which the scale has a huge variance and its other effects are known."""
    prior = a_prior(noises=(0.05,), dead=True)
    rows = prior.rows(CHOICES, WITHOUT_DEAD)
    picked = prior.pick(rows, 6)
    world = np.random.default_rng(7).multivariate_normal(prior.mean, prior.covariance)
    y = 7.3 * (rows[picked] @ world)
    found = prior.adapt(rows[picked], y)
    noise = np.diag(0.05**2 * prior.noise_shape(rows[picked]))
    scale = _generalised_least_squares(prior, rows[picked], y, noise)
    joint = scale**2 * (rows @ prior.covariance @ rows.T) + 1e6 * np.outer(rows @ prior.mean, rows @ prior.mean)
    observed = joint[np.ix_(picked, picked)] + scale**2 * noise
    mean = joint[:, picked] @ np.linalg.solve(observed, y)
    variance = np.diag(joint - joint[:, picked] @ np.linalg.solve(observed, joint[picked]))
    assert found.predict_ms(rows) == pytest.approx(mean, rel=1e-4)
    own = (scale * 0.05) ** 2 * prior.noise_shape(rows)
    assert found.deviation_ms(rows) ** 2 == pytest.approx(variance + own, rel=1e-3)


def _generalised_least_squares(prior: Prior, rows: Floats, y: Floats, noise: Floats) -> float:
    covariance, t = rows @ prior.covariance @ rows.T + noise, rows @ prior.mean
    solved = np.linalg.solve(covariance, t)
    return float(solved @ y / (solved @ t))


def test_a_device_of_the_prior_is_predicted_within_its_deviations() -> None:
    prior, inside, total = a_prior(noises=(0.03,)), 0, 0
    rows = prior.rows(CHOICES)
    picked, rng = prior.pick(rows, 5), np.random.default_rng(3)
    for _ in range(200):
        true = 5.0 * (rows @ rng.multivariate_normal(prior.mean, prior.covariance))
        true = true + 5.0 * 0.03 * np.sqrt(prior.noise_shape(rows)) * rng.normal(size=len(rows))
        if true[picked].min() <= 0.0:
            continue
        expected, deviation = measured(prior.adapt(rows[picked], true[picked]), rows)
        rest = np.setdiff1d(np.arange(len(rows)), picked)
        inside += int((np.abs(true - expected) <= 1.96 * deviation)[rest].sum())
        total += len(rest)
    assert total > 2000
    assert 0.9 < inside / total < 0.98


def test_more_samples_never_hurt_in_its_own_world() -> None:
    prior = a_prior(noises=(0.05,))
    rows = prior.rows(CHOICES)
    picked, rng = prior.pick(rows, 12), np.random.default_rng(4)
    errors = []
    for _ in range(150):
        true = 5.0 * (rows @ rng.multivariate_normal(prior.mean, prior.covariance))
        seen = true + 5.0 * 0.05 * np.sqrt(prior.noise_shape(rows)) * rng.normal(size=len(rows))
        if seen[picked].min() <= 0.0:
            continue
        found = [prior.adapt(rows[picked[:n]], seen[picked[:n]]).predict_ms(rows) for n in (2, 4, 8, 12)]
        errors.append([np.mean((one - true) ** 2) for one in found])
    assert len(errors) > 50
    means = np.mean(errors, axis=0)
    assert (np.diff(means) < 0.0).all()
    assert means[-1] < 0.1 * means[0]


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(0.01, 1000.0), count=st.integers(2, 10))
def test_a_device_that_is_slower_throughout_is_the_same_device(factor: float, count: int) -> None:
    prior = a_prior()
    rows = prior.rows(CHOICES)
    picked = prior.pick(rows, count)
    true = sources(np.random.default_rng(11), devices=1)[0] + 0.123  # no whole milliseconds
    one, other = (prior.adapt(rows[picked], scale * true[picked]) for scale in (1.0, factor))
    assert other.predict_ms(rows) == pytest.approx(factor * one.predict_ms(rows), rel=1e-6)
    assert other.deviation_ms(rows) == pytest.approx(factor * one.deviation_ms(rows), rel=1e-6)


def mean_variance(prior: Prior, rows: Floats, chosen: list[int]) -> float:
    """Of all predictions, written down once more, for a device of any scale."""
    free = prior.covariance + 4.0 * np.outer(prior.mean, prior.mean)
    noise = min(prior.noises) ** 2 * prior.noise_shape(rows)
    own = rows[chosen]
    inverse = np.linalg.inv(own @ free @ own.T + np.diag(noise[chosen]))
    return float(np.mean(np.diag(rows @ (free - free @ own.T @ inverse @ own @ free) @ rows.T)))


def test_the_choice_is_greedy_and_nested() -> None:
    prior = a_prior()
    rows = prior.rows(CHOICES)
    picked = prior.pick(rows, 6)
    assert len(set(picked)) == 6
    assert prior.pick(rows, 3) == picked[:3]
    assert len(prior.pick(rows, 999)) == len(rows)
    for known in (0, 2, 5):
        left = [index for index in range(len(rows)) if index not in picked[:known]]
        best = min(mean_variance(prior, rows, [*picked[:known], index]) for index in left)
        assert mean_variance(prior, rows, picked[: known + 1]) == pytest.approx(best, rel=1e-6)


def test_the_design_is_the_greedy_choice_after_a_round_of_the_best_exchanges() -> None:
    prior = a_prior()
    rows = prior.rows(CHOICES)
    expected = prior.pick(rows, 5)
    variances = [mean_variance(prior, rows, expected)]
    for place in range(5):
        left = [index for index in range(len(rows)) if index not in expected[:place] + expected[place + 1 :]]
        tried = {
            index: mean_variance(prior, rows, [*expected[:place], index, *expected[place + 1 :]]) for index in left
        }
        expected[place] = min(tried, key=tried.__getitem__)
        variances.append(tried[expected[place]])
    assert mean_variance(prior, rows, prior.design(rows, 5)) == pytest.approx(variances[-1], rel=1e-9)
    assert variances == sorted(variances, reverse=True)
    assert variances[-1] < variances[0], "the greedy choice can be bettered here"
    assert len(prior.design(rows, 1)) == 1


def test_all_networks_are_a_design() -> None:
    prior = a_prior()
    assert sorted(prior.design(prior.rows(CHOICES), 999)) == list(range(len(CHOICES)))


def test_whole_milliseconds_are_known_to_be_rounded() -> None:
    prior = a_prior(noises=(1e-4,))
    rows = prior.rows(CHOICES)
    picked = prior.pick(rows, 8)
    true = sources(np.random.default_rng(12), devices=1, noise=0.0)[0]
    true = 4.0 * true / true.mean()  # a few milliseconds: rounding is an error of some ten percent
    rounded = np.maximum(np.round(true), 1.0)
    _, careful = measured(prior.adapt(rows[picked], rounded[picked]), rows)
    _, exact = measured(prior.adapt(rows[picked], true[picked]), rows)
    assert careful.mean() > 2.0 * exact.mean()


def test_one_outlier_does_not_decide() -> None:
    prior = a_prior(noises=(0.02,))
    rows = prior.rows(CHOICES)
    picked = prior.pick(rows, 15)
    true = sources(np.random.default_rng(13), devices=1, noise=0.0)[0]
    seen = true[picked].copy()
    seen[14] *= 3.0
    clean = prior.adapt(rows[picked[:14]], seen[:14]).predict_ms(rows)
    assert np.abs(prior.adapt(rows[picked], seen).predict_ms(rows) / clean - 1.0).max() < 0.05


def test_dead_ops_are_found_to_be_free() -> None:
    """A runtime that removes them, among sources that run them."""
    prior = a_prior(dead=True)
    rows = prior.rows(CHOICES, WITHOUT_DEAD)
    weights = np.array([0.0, 1.0, 3.0, 0.0, 1.0, 3.0, 0.0, 2.0])
    true = 2.0 * (4.1 + one_hot(OPTIONS, WITHOUT_DEAD) @ weights)
    picked = prior.pick(rows, 10)
    error = np.abs(prior.adapt(rows[picked], true[picked]).predict_ms(rows) / true - 1.0)
    blind = a_prior(dead=False)
    plain = blind.rows(CHOICES)
    blind_error = np.abs(blind.adapt(plain[picked], true[picked]).predict_ms(plain) / true - 1.0)
    assert error.mean() < 0.03
    assert error.mean() < 0.5 * blind_error.mean()


def test_the_latency_model_says_the_same() -> None:
    prior = a_prior(dead=True)
    rows = prior.rows(CHOICES, WITHOUT_DEAD)
    picked = prior.pick(rows, 10)
    true = sources(np.random.default_rng(14), devices=1)[0]
    found = prior.adapt(rows[picked], true[picked])
    model = prior.latency_model(found, rows)
    alive = np.flatnonzero((WITHOUT_DEAD == CHOICES).all(axis=1))
    for i in alive:
        assert model.predict_ms(tuple(CHOICES[i])) == pytest.approx(found.predict_ms(rows[[i]])[0])
    assert model.sigma == pytest.approx(np.mean(found.deviation_ms(rows) / found.predict_ms(rows)))


def test_sources_like_the_device_need_few_samples() -> None:
    tight, wide = a_prior(unlike=0.0), a_prior(unlike=10.0)
    rows = tight.rows(CHOICES)
    assert np.trace(rows @ tight.covariance @ rows.T) < np.trace(rows @ wide.covariance @ rows.T)


@pytest.mark.parametrize("latencies", [[], [1.0, 0.0], [1.0, -2.0], [1.0, float("nan")], [1.0]])
def test_latencies_that_cannot_be_are_refused(latencies: list[float]) -> None:
    prior = a_prior()
    with pytest.raises(InputError, match="one positive latency for each"):
        prior.adapt(prior.rows(CHOICES[:2]), latencies)


@pytest.mark.parametrize("devices", [np.ones((1, 18)), np.zeros((3, 18))])
def test_sources_that_say_nothing_are_refused(devices: Floats) -> None:
    with pytest.raises(InputError, match="two devices or more"):
        learn_prior(OPTIONS, CHOICES, devices)
