from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

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
from hwnas.nas.select import (
    Scored,
    best,
    costlier,
    images_a_score,
    images_scored,
    recalibration_images,
    score,
    scored_images,
    told_apart,
)
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


def test_of_many_classes_a_score_sees_ten_images_of_each() -> None:
    rng, classes = np.random.default_rng(0), 300

    def images(each: int) -> Images:
        labels = rng.permutation(np.repeat(np.arange(classes), each))
        return Images(np.zeros((len(labels), 1, 8, 8), np.uint8), labels)

    names = tuple(map(str, range(classes)))
    dataset = Dataset("many", names, images(9), images(20), images(1), (0.5,), (0.5,), flip=False)
    for chosen, each in ((scored_images(dataset), 10), (recalibration_images(dataset, 1200), 4)):
        assert (np.bincount(chosen.labels) == each).all()
    assert images_scored(6000, classes) == len(scored_images(dataset)) == 3000
    assert images_a_score(6000, classes=classes) == 1200 + 2 * 3000
    limited = scored_images(dataset, 450)
    assert set(np.bincount(limited.labels)) == {1, 2}
    assert len(scored_images(replace(dataset, val=images(5)))) == 1500
    assert recalibration_images(dataset, 768) is dataset.train


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


def _with_accuracies(accuracies: Sequence[float]) -> list[Scored]:
    names = itertools.islice(all_choices(MODEL.costs_ms), len(accuracies))
    return [
        Scored(TOY.architecture(choices), accuracy, accuracy, np.array([1.0 - accuracy]))
        for choices, accuracy in zip(names, accuracies, strict=True)
    ]


@pytest.mark.parametrize(
    ("accuracies", "images", "apart"),
    [
        ([0.5] * 24, 8, False),
        ([1.0] * 24, 4, False),
        ([0.25, 0.5, 0.75], 4, False),
        ([0.95, 0.97], 270, False),
        ([0.95, 0.97], 2000, True),
        ([0.95, 0.97], 100_000, True),
        ([0.5, 0.9], 100, True),
        ([0.5], 4, True),
    ],
)
def test_candidates_are_told_apart_where_accuracies_differ_by_more_than_chance(
    accuracies: list[float], images: int, apart: bool
) -> None:
    assert told_apart(_with_accuracies(accuracies), images) is apart


@pytest.mark.parametrize("images", [20, 200, 2000])
def test_networks_that_are_equally_good_are_seldom_told_apart(images: int) -> None:
    """By chance alone, and independent of each other, which is more than networks on the same images are."""
    rng = np.random.default_rng(images)
    told = [told_apart(_with_accuracies((rng.binomial(images, 0.8, 2) / images).tolist()), images) for _ in range(400)]
    assert np.mean(told) < 0.2


class Known:
    """Gives accuracies in turn, and counts."""

    at_once = 1

    def __init__(self, accuracies: Iterator[float]) -> None:
        self.accuracies, self.asked = accuracies, 0

    def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
        for choices in batch:
            self.asked += 1
            accuracy = next(self.accuracies)
            yield Scored(TOY.architecture(choices), accuracy, accuracy, np.array([1.0 - accuracy, 1.0 - accuracy]))


@pytest.mark.parametrize("most", [3, 6, 20, 1000])
def test_no_more_is_scored_than_there_is_time_for(most: int) -> None:
    """The first two tell how long a score takes; something is kept for what no budget would take."""
    evaluator = Known(itertools.cycle([0.1, 0.5, 0.9]))
    told: list[tuple[float, int]] = []

    def most_scores(score_s: float, scored: int) -> int:
        told.append((score_s, scored))
        return most

    limits = AdditiveSet(_latency(0.6 * MODEL.largest_ms + 0.4 * MODEL.smallest_ms))
    comparison = Comparison(evaluator, Silent(), images=2000, most=most_scores)
    proposals = [each for each in all_choices(MODEL.costs_ms) if limits.latency.keeps(each)]
    comparison.score(proposals, len(proposals))
    assert evaluator.asked <= max(2, most - min(25, most // 3))
    winner = comparison.spend(MODEL.costs_ms, limits)
    comparison.unbudgeted(winner, MODEL.costs_ms, limits)
    assert evaluator.asked <= most
    assert [scored for _, scored in told] == [2]


def test_where_time_is_limited_the_eighth_that_is_alike_is_the_last() -> None:
    limits = AdditiveSet(_latency(0.6 * MODEL.largest_ms + 0.4 * MODEL.smallest_ms))
    proposals = [each for each in all_choices(MODEL.costs_ms) if limits.latency.keeps(each)]
    for most, asked in ((lambda *_: 1000, 8), (None, 20)):
        evaluator = Known(itertools.repeat(0.5))
        comparison = Comparison(evaluator, Silent(), images=8, most=most)
        comparison.score(proposals, 20)
        assert evaluator.asked == asked
        assert not comparison.told_apart
        if most is not None:
            winner = comparison.spend(MODEL.costs_ms, limits)
            comparison.unbudgeted(winner, MODEL.costs_ms, limits)
            assert evaluator.asked == asked
            assert winner == best(comparison.scored, limits.latency)
