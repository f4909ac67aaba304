"""Two constraints at once, against enumeration and against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import OPTIONS, all_choices, random_table, total, toy_model
from scipy.stats import chisquare

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.errors import InputError
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constrained_relaxation import ConstrainedRelaxation
from hwnas.nas.constraint import Constraint, latency_constraint
from hwnas.nas.decode import FeasibleSampler, OptionTable, Second, decode
from hwnas.nas.objective import ConstraintPenalty
from hwnas.nas.select import candidates
from hwnas.nas.strategies.gumbel import Gumbel

COSTS = toy_model().costs_ms
SIZES = random_table(np.random.default_rng(7))  # not aligned with the costs: the two can exclude each other
MOBILE = [13] * 4 + [9] * 6


def feasible(costs: OptionTable, budget: float, second: Second) -> list[tuple[int, ...]]:
    return [c for c in all_choices(costs) if total(costs, c) <= budget and total(second[0], c) <= second[1]]


@pytest.mark.parametrize(
    ("seed", "every"), [(0, 8), pytest.param(0, 3, marks=pytest.mark.dear), pytest.param(1, 3, marks=pytest.mark.dear)]
)
def test_decode_is_exact_at_every_budget_and_size_of_the_toy_space(seed: int, every: int) -> None:
    scores = random_table(np.random.default_rng(seed))
    everything = list(all_choices(COSTS))
    of = {c: (total(scores, c), total(COSTS, c), total(SIZES, c)) for c in everything}
    for budget in sorted(cost for _, cost, _ in of.values())[::every]:
        for size in sorted(size for _, _, size in of.values())[::every]:
            best = max((s for s, cost, own in of.values() if cost <= budget and own <= size), default=None)
            choices = decode(scores, COSTS, budget, (SIZES, size))
            assert (choices is None) == (best is None)
            if choices is not None:
                assert of[choices][0] == pytest.approx(best, abs=1e-12)
                assert of[choices][1] <= budget
                assert of[choices][2] <= size


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-4, 4), st.integers(-5, 9), st.integers(-5, 9)), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    ),
    st.integers(-21, 40),
    st.integers(-21, 40),
)
def test_decode_is_exact_on_integers(problem: list[list[tuple[int, int, int]]], budget: int, size: int) -> None:
    scores, costs, sizes = ([[float(option[k]) for option in row] for row in problem] for k in range(3))
    expected = max((total(scores, c) for c in feasible(costs, budget, (sizes, size))), default=None)
    choices = decode(scores, costs, budget, (sizes, size))
    assert (None if choices is None else total(scores, choices)) == expected


def by_counting(scores: OptionTable, costs: list[list[int]], budget: int, second: tuple[list[list[int]], int]) -> float:
    """The best score where costs are whole and positive, by a table of all pairs of sums."""
    best = np.full((budget + 1, second[1] + 1), -np.inf)
    best[0, 0] = 0.0
    for decision in zip(scores, costs, second[0], strict=True):
        longer = np.full_like(best, -np.inf)
        for score, cost, size in zip(*decision, strict=True):
            if cost <= budget and size <= second[1]:
                part = longer[cost:, size:]
                np.maximum(part, best[: budget + 1 - cost, : second[1] + 1 - size] + score, out=part)
        best = longer
    return float(best.max())


@pytest.mark.sample("noise")
@pytest.mark.parametrize("noise", [3.0, 0.1], ids=["any scores", "scores that grow with both costs"])
@pytest.mark.parametrize("seed", range(4))
def test_decode_of_a_large_space_is_exact(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    costs, sizes = ([rng.integers(1, 40, count).tolist() for count in MOBILE] for _ in range(2))
    scores = [
        (np.add(cost, size) / 20 + noise * rng.normal(size=len(cost))).tolist()
        for cost, size in zip(costs, sizes, strict=True)
    ]
    budget, size = (int(sum(np.quantile(row, share) for row in table)) for table, share in ((costs, 0.3), (sizes, 0.4)))
    choices = decode(scores, costs, budget, (sizes, size))
    assert choices is not None
    assert total(costs, choices) <= budget
    assert total(sizes, choices) <= size
    assert total(scores, choices) == pytest.approx(by_counting(scores, costs, budget, (sizes, size)), abs=1e-9)


@pytest.mark.parametrize("excess", [1e-16, 1e-12, 1e-9, 1e-7])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_above_a_budget_by_a_hair_is_left_out(seed: int, excess: float) -> None:
    scores = random_table(np.random.default_rng(seed))
    size = float(np.quantile([total(SIZES, c) for c in all_choices(COSTS)], 0.6))
    best = decode(scores, COSTS, math.inf, (SIZES, size))
    assert best is not None
    budget = math.nextafter(total(COSTS, best) * (1 - excess), -math.inf)
    found = decode(scores, COSTS, budget, (SIZES, size))
    assert found is not None
    assert found != best
    assert total(scores, found) == max(total(scores, c) for c in feasible(COSTS, budget, (SIZES, size)))


def test_a_budget_that_very_many_reach_up_to_rounding() -> None:
    """Every order of the same options sums to 0.3 x 10 up to rounding; the budget is a little below."""
    rng = np.random.default_rng(0)
    costs = [[0.1, 0.3, 0.5]] * 10
    scores = [(np.array([0.0, 1.0, 2.0]) + 1e-3 * rng.normal(size=3)).tolist() for _ in costs]
    budget = math.nextafter(3.0, 0) - 1e-15
    found = decode(scores, costs, budget, (costs, 10.0))
    assert found is not None
    assert total(costs, found) <= budget
    assert total(scores, found) >= decode_score(scores, costs, 3.0 - 1e-4)


def decode_score(scores: OptionTable, costs: OptionTable, budget: float) -> float:
    choices = decode(scores, costs, budget)
    assert choices is not None
    return total(scores, choices)


def test_an_infinite_budget_leaves_the_other_constraint() -> None:
    scores = random_table(np.random.default_rng(5))
    for size in (-2.0, -1.0, 0.0):
        alone = decode(scores, SIZES, size)
        assert decode(scores, COSTS, math.inf, (SIZES, size)) == alone
        assert decode(scores, SIZES, size, (COSTS, math.inf)) == alone
    assert decode(scores, COSTS, math.inf, (SIZES, math.inf)) == tuple(int(np.argmax(row)) for row in scores)


@pytest.mark.parametrize("shares", [(0.2, 0.9), (0.5, 0.5), (0.9, 0.3), (1.0, 1.0)])
def test_draws_are_uniform_over_what_both_leave(shares: tuple[float, float]) -> None:
    budget, size = (
        float(np.quantile([total(table, c) for c in all_choices(COSTS)], share)) + 0.02
        for table, share in zip((COSTS, SIZES), shares, strict=True)
    )
    inside = feasible(COSTS, budget, (SIZES, size))
    sampler = FeasibleSampler(COSTS, budget, (SIZES, size), cells=2048)
    assert sampler.count == len(inside) > 3
    rng = np.random.default_rng(1)
    counts = dict.fromkeys(inside, 0)
    for _ in range(30 * len(inside)):
        counts[sampler.sample(rng)] += 1
    assert chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("cells", [3, 40, 512])
def test_every_draw_keeps_both_however_coarse_the_grid(cells: int) -> None:
    rng = np.random.default_rng(0)
    for budget, size in ((6.0, 0.0), (9.5, -1.5), (7.0, 0.5)):
        budget += sum(map(min, COSTS)) - 6.0
        inside = feasible(COSTS, budget, (SIZES, size))
        sampler = FeasibleSampler(COSTS, budget, (SIZES, size), cells=cells) if inside else None
        if sampler is None:
            with pytest.raises(InputError, match="no architecture is within"):
                FeasibleSampler(COSTS, budget, (SIZES, size), cells=cells)
        else:
            assert sampler.count <= len(inside)
            assert {sampler.sample(rng) for _ in range(50)} <= set(inside)


def test_candidates_keep_both() -> None:
    scores = random_table(np.random.default_rng(2))
    budget, size = total(COSTS, (1, 1, 1, 1)), 0.0
    both = AdditiveSet(
        Constraint("ms", AdditiveCosts(COSTS), budget, budget), Constraint("kb", AdditiveCosts(SIZES), size, size)
    )
    found = list(candidates(scores, both, count=8, seed=0))
    assert found[0] == decode(scores, COSTS, budget, (SIZES, size))
    assert set(found) <= set(feasible(COSTS, budget, (SIZES, size)))


def test_a_constraint_counts_in_its_unit() -> None:
    model = toy_model(slope=1.3, intercept_ms=0.7)
    latency = latency_constraint(model, model.largest_ms)
    size = Constraint("kb", AdditiveCosts(SIZES), 1.0 - 0.25, 1.0, 1.0, 0.25)
    limits = AdditiveSet(latency, size)
    for choices in all_choices(COSTS):
        assert latency.value(choices) == pytest.approx(model.predict_ms(choices))
        assert size.keeps(choices) == (size.value(choices) <= size.target)
    scores = random_table(np.random.default_rng(4))
    assert limits.decode(scores) == limits.without_latency.decode(scores) == decode(scores, SIZES, 0.75)
    assert limits.count <= len(feasible(COSTS, latency.raw_budget, (SIZES, 0.75)))


def test_a_relaxation_is_held_to_both_constraints() -> None:
    """The loss prefers what is slow and large; both expectations end at their targets, which conflict with it."""
    sizes = [[abs(size) + 0.1 for size in row] for row in SIZES]
    found = Gumbel(OPTIONS, hard=False)
    low, high = (np.array([sum(map(pick, table)) for table in (COSTS, sizes)]) for pick in (min, max))
    goal = low + np.array([0.5, 0.4]) * (high - low)
    limits = [
        Constraint("ms", AdditiveCosts(COSTS), goal[0], goal[0]),
        Constraint("kb", AdditiveCosts(sizes), goal[1], goal[1]),
    ]
    constrained = ConstrainedRelaxation(found, tuple(ConstraintPenalty(limit) for limit in limits))
    gain = torch.tensor(np.array(COSTS) / high[0] + np.array(sizes) / high[1], dtype=torch.float32)
    optimizer = torch.optim.Adam([found.logits], lr=0.05)
    history = []
    for step in range(1200):
        optimizer.zero_grad()
        (constrained.penalty() - 0.3 * (gain * torch.softmax(found.logits, 1)).sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 20 == 19:
            constrained.update()
            history.append([value.item() for value in constrained.expected()])
    assert np.mean(history[-10:], axis=0) == pytest.approx(goal, rel=0.03)
    assert all(held.penalty.multiplier > 0 for held in constrained.penalties)
