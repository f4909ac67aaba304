from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import TOY, all_choices, random_table, total, toy_model

from hwnas.data import Dataset, Images
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.comparison import Comparison, OneShotEvaluator
from hwnas.nas.constraint import Constraint, latency_constraint
from hwnas.nas.select import Scored, best, costlier, score
from hwnas.nas.supernet import Supernet
from hwnas.progress import Silent

CPU, MODEL = torch.device("cpu"), toy_model()


def _images(rng: np.random.Generator, n: int) -> Images:
    channels, height, width = TOY.input_shape
    return Images(rng.integers(0, 256, (n, channels, height, width), dtype=np.uint8), rng.integers(0, TOY.classes, n))


@pytest.mark.parametrize(("n", "scored"), [(700, 700), (3100, 2000)])
def test_a_score_looks_at_no_more_than_2000_images_and_at_the_same_ones_again(n: int, scored: int) -> None:
    rng = np.random.default_rng(0)
    classes, floats = tuple(map(str, range(TOY.classes))), (0.5,) * TOY.input_shape[0]
    dataset = Dataset("noise", classes, _images(rng, 64), _images(rng, n), _images(rng, 8), floats, floats, flip=False)
    torch.manual_seed(0)
    supernet = Supernet(TOY)
    first = score(supernet, TOY.architecture((0, 0, 0, 0)), dataset, device=CPU)
    assert first.accuracy * scored == pytest.approx(round(first.accuracy * scored))
    assert score(supernet, TOY.architecture((0, 0, 0, 0)), dataset, device=CPU) == first


def _scored(first: int, losses: Sequence[float]) -> Scored:
    return Scored(TOY.architecture((first, 0, 0, 0)), 0.5, 0.5, np.array(losses))


def _latency(budget_ms: float = MODEL.largest_ms) -> Constraint:
    return latency_constraint(MODEL, budget_ms)


def test_the_slowest_of_those_that_the_images_cannot_tell_from_the_best_wins() -> None:
    easy, hard = [0.1] * 50, [0.9] * 50
    leader = _scored(0, easy + hard)
    noise = np.linspace(-1.0, 1.0, 100)
    alike = _scored(1, leader.losses + 0.02 + 0.5 * noise)  # standard error .029
    worse = _scored(2, leader.losses + 0.04 + 0.5 * noise)
    latency = _latency()
    assert latency.value((0, 0, 0, 0)) < latency.value((1, 0, 0, 0)) < latency.value((2, 0, 0, 0))
    assert best([leader, alike, worse], latency) is alike
    surely_worse = _scored(2, leader.losses + 0.001)  # by little, but on every image
    assert best([leader, surely_worse], latency) is leader


@given(st.sampled_from(list(all_choices(MODEL.costs_ms))), st.integers(0, 100))
def test_costlier_neighbours_are_all_of_them_the_most_preferred_first(choices: tuple[int, ...], percent: int) -> None:
    latency = _latency(MODEL.smallest_ms + percent / 100 * (MODEL.largest_ms - MODEL.smallest_ms))
    preferences = random_table(np.random.default_rng(percent))
    found = costlier(choices, preferences, AdditiveSet(latency))
    expected = {
        other
        for other in all_choices(MODEL.costs_ms)
        if sum(a != b for a, b in zip(choices, other, strict=True)) == 1
        and total(MODEL.costs_ms, other) > total(MODEL.costs_ms, choices)
        and latency.keeps(other)
    }
    assert set(found) == expected
    assert len(found) == len(expected)
    gains = [total(preferences, other) for other in found]
    assert gains == sorted(gains, reverse=True)


def test_what_is_left_of_the_budget_is_spent_where_the_images_do_not_mind() -> None:
    """A supernet of constant logits scores every architecture alike: the walk goes up until nothing fits."""
    rng = np.random.default_rng(0)
    classes, floats = tuple(map(str, range(TOY.classes))), (0.5,) * TOY.input_shape[0]
    dataset = Dataset("noise", classes, _images(rng, 64), _images(rng, 32), _images(rng, 8), floats, floats, flip=False)
    supernet = Supernet(TOY)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.zero_()
    limits = AdditiveSet(_latency(0.6 * MODEL.largest_ms + 0.4 * MODEL.smallest_ms))
    comparison = Comparison(OneShotEvaluator(supernet, dataset, CPU), Silent())
    comparison.score([min(all_choices(MODEL.costs_ms), key=limits.latency.value)], 1)
    winner = comparison.spend(MODEL.costs_ms, limits)
    assert not costlier(winner.architecture.choices, MODEL.costs_ms, limits)
    assert all(limits.latency.keeps(one.architecture.choices) for one in comparison.scored)
    assert not limits.latency.keeps(comparison.unbudgeted(winner, MODEL.costs_ms, limits).architecture.choices)
    roomy = AdditiveSet(_latency())
    assert comparison.unbudgeted(comparison.spend(MODEL.costs_ms, roomy), MODEL.costs_ms, roomy) == best(
        comparison.scored, roomy.latency
    )
