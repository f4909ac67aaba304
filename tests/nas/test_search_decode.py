from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import OPTIONS, all_choices, random_table, total, toy_model
from scipy.stats import chisquare

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.errors import InputError
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import Constraint
from hwnas.nas.decode import FeasibleSampler, OptionTable, decode
from hwnas.nas.select import candidates

COSTS = toy_model().costs_ms
TOTALS = sorted({total(COSTS, choices) for choices in all_choices(COSTS)})


def brute_force(scores: OptionTable, costs: OptionTable, budget: float) -> tuple[float, float] | None:
    """(score, -cost) of the best feasible choices, the cheaper one of equals."""
    feasible = [choices for choices in all_choices(costs) if total(costs, choices) <= budget]
    return max(((total(scores, c), -total(costs, c)) for c in feasible), default=None)


def decoded(scores: OptionTable, costs: OptionTable, budget: float) -> tuple[float, float] | None:
    choices = decode(scores, costs, budget)
    return None if choices is None else (total(scores, choices), -total(costs, choices))


def within(budget: float) -> AdditiveSet:
    return AdditiveSet(Constraint("ms", AdditiveCosts(COSTS), budget, budget))


def test_the_toy_space_has_81_different_costs() -> None:
    assert len(TOTALS) == 81


@pytest.mark.parametrize("offset", [0.0, -7.3])
@pytest.mark.parametrize("seed", range(4))
def test_decode_is_exact_at_every_budget_of_the_toy_space(seed: int, offset: float) -> None:
    costs = [[cost + offset for cost in row] for row in COSTS]
    scores = random_table(np.random.default_rng(seed))
    for exact in sorted(total(costs, choices) for choices in all_choices(costs)):
        for budget in (math.nextafter(exact, -math.inf), exact, math.nextafter(exact, math.inf)):
            expected = brute_force(scores, costs, budget)
            actual = decoded(scores, costs, budget)
            assert (actual is None) == (expected is None)
            if actual is not None and expected is not None:
                assert actual == pytest.approx(expected, abs=1e-12)
                assert -actual[1] <= budget


def test_between_equal_scores_the_cheaper_architecture_wins() -> None:
    flat = [[0.0] * count for count in OPTIONS]
    for budget in TOTALS:
        choices = decode(flat, COSTS, budget)
        assert choices is not None
        assert total(COSTS, choices) == TOTALS[0]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-4, 4), st.integers(-5, 9)), min_size=1, max_size=4), min_size=1, max_size=4
    ),
    st.integers(-21, 40),
)
def test_decode_is_exact_on_integers(problem: list[list[tuple[int, int]]], budget: int) -> None:
    scores = [[float(score) for score, _ in row] for row in problem]
    costs = [[float(cost) for _, cost in row] for row in problem]
    assert decoded(scores, costs, budget) == brute_force(scores, costs, budget)


def test_without_a_budget_each_decision_takes_its_best() -> None:
    scores = random_table(np.random.default_rng(0))
    assert decode(scores, COSTS, math.inf) == tuple(int(np.argmax(row)) for row in scores)


positive = st.floats(0.0, 10.0).map(lambda value: round(value, 3))


@given(st.lists(st.lists(positive, min_size=1, max_size=4), min_size=1, max_size=5), st.floats(0.0, 1.0))
def test_every_draw_is_feasible_and_the_count_is_close(costs: list[list[float]], share: float) -> None:
    low, high = (sum(pick(row) for row in costs) for pick in (min, max))
    budget = low + share * (high - low) + 1e-9
    sampler = FeasibleSampler(costs, budget)
    rng = np.random.default_rng(0)
    rounding = 1e-9 * (1.0 + budget)
    for _ in range(20):
        assert total(costs, sampler.sample(rng)) <= budget + rounding
    sums = np.array([total(costs, choices) for choices in all_choices(costs)])
    spare = min(budget - low, high - low)
    assert np.sum(sums <= budget - spare * len(costs) / 8192) <= sampler.count <= np.sum(sums <= budget + rounding)


@pytest.mark.parametrize("rank", [0, 9, 30, 55, 79])
def test_draws_are_uniform_over_the_feasible_architectures_of_the_toy_space(rank: int) -> None:
    budget = (TOTALS[rank] + TOTALS[rank + 1]) / 2
    sampler = FeasibleSampler(COSTS, budget)
    assert sampler.count == rank + 1
    rng = np.random.default_rng(1)
    draws = 30 * (rank + 1)
    counts = dict.fromkeys((c for c in all_choices(COSTS) if total(COSTS, c) <= budget), 0)
    for _ in range(draws):
        counts[sampler.sample(rng)] += 1
    assert len(counts) == rank + 1
    if rank:
        assert chisquare(list(counts.values())).pvalue > 1e-3


def test_no_feasible_architecture_is_an_error() -> None:
    with pytest.raises(InputError, match="no architecture is within the budget"):
        FeasibleSampler(COSTS, TOTALS[0] - 0.1)
    assert decode(COSTS, COSTS, TOTALS[0] - 0.1) is None


@pytest.mark.parametrize("rank", [0, 3, 40, 80])
def test_candidates_are_distinct_and_feasible_and_the_exact_decode_comes_first(rank: int) -> None:
    scores = [np.log(np.random.default_rng(2).dirichlet(np.ones(count))).tolist() for count in OPTIONS]
    found = list(candidates(scores, within(TOTALS[rank]), count=10, seed=3))
    assert found[0] == decode(scores, COSTS, TOTALS[rank])
    assert len(set(found)) == len(found) <= min(10, rank + 1)
    assert all(total(COSTS, choices) <= TOTALS[rank] for choices in found)
    assert found == list(candidates(scores, within(TOTALS[rank]), count=10, seed=3))
    if rank == 80:
        assert len(found) == 10
        assert found != list(candidates(scores, within(TOTALS[rank]), count=10, seed=4))


def test_no_candidates_where_nothing_is_feasible() -> None:
    assert list(candidates(COSTS, within(TOTALS[0] - 0.1), count=5, seed=0)) == []
