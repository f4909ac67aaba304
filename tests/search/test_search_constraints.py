"""Two constraints at once, against enumeration and against HiGHS."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import OPTIONS, all_choices, random_table, total, toy_model
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.stats import chisquare

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.errors import InputError
from hwnas.search.additive_set import AdditiveSet
from hwnas.search.constraint import Constraint, latency_constraint
from hwnas.search.decode import FeasibleSampler, OptionTable, Second, decode
from hwnas.search.objective import ConstraintPenalty
from hwnas.search.pareto import best_within_two
from hwnas.search.select import candidates
from hwnas.search.strategies.gumbel import Gumbel
from hwnas.search.supernet_loop import ConstrainedRelaxation

COSTS = toy_model().costs_ms
SIZES = random_table(np.random.default_rng(7))  # not aligned with the costs: the two can exclude each other
MOBILE = [13] * 4 + [9] * 6


def feasible(costs: OptionTable, budget: float, second: Second) -> list[tuple[int, ...]]:
    return [c for c in all_choices(costs) if total(costs, c) <= budget and total(second[0], c) <= second[1]]


@pytest.mark.parametrize("seed", range(2))
def test_decode_is_exact_at_every_budget_and_size_of_the_toy_space(seed: int) -> None:
    scores = random_table(np.random.default_rng(seed))
    everything = list(all_choices(COSTS))
    of = {c: (total(scores, c), total(COSTS, c), total(SIZES, c)) for c in everything}
    for budget in sorted(cost for _, cost, _ in of.values())[::3]:
        for size in sorted(size for _, _, size in of.values())[::3]:
            best = max((s for s, cost, own in of.values() if cost <= budget and own <= size), default=None)
            choices = decode(scores, COSTS, budget, (SIZES, size))
            assert (choices is None) == (best is None)
            if choices is not None:
                assert of[choices][0] == pytest.approx(best, abs=1e-12)
                assert of[choices][1] <= budget
                assert of[choices][2] <= size


@settings(max_examples=150, deadline=None)
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


def by_highs(scores: OptionTable, costs: OptionTable, budget: float, second: Second) -> float:
    """The best score, by another solver."""
    groups = np.repeat(np.eye(len(scores)), [len(row) for row in scores], axis=1)
    rows = [np.concatenate(costs) / budget, np.concatenate(second[0]) / second[1]]
    found = milp(
        -np.concatenate(scores),
        constraints=[LinearConstraint(groups, 1, 1), LinearConstraint(np.stack(rows), -np.inf, 1)],
        integrality=np.ones(groups.shape[1]),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0},
    )
    return -float(found.fun)


@pytest.mark.parametrize("seed", range(6))
def test_decode_of_a_large_space_is_that_of_an_integer_programme(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs, noise = ([rng.uniform(0.1, 1.0, count) for count in MOBILE] for _ in range(2))
    sizes = [row + 0.5 * other for row, other in zip(costs, noise, strict=True)]
    scores = [np.log(rng.dirichlet(np.ones(count))) for count in MOBILE]
    budget, size = (sum(np.quantile(row, share) for row in table) for table, share in ((costs, 0.3), (sizes, 0.25)))
    tables = [[row.tolist() for row in table] for table in (scores, costs, sizes)]
    choices = decode(tables[0], tables[1], budget, (tables[2], size))
    assert choices is not None
    assert total(tables[1], choices) <= budget
    assert total(tables[2], choices) <= size
    assert total(tables[0], choices) == pytest.approx(by_highs(*tables[:2], budget, (tables[2], size)), abs=1e-5)


@pytest.mark.parametrize("widths", [(1, 3, 1000), (1,)])
@pytest.mark.parametrize("seed", range(4))
def test_a_narrow_pass_is_followed_by_wider_ones_or_by_an_integer_programme(
    widths: tuple[int, ...], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwnas.search.pareto._WIDTHS", widths)
    budget, size = np.quantile([[total(t, c) for c in all_choices(COSTS)] for t in (COSTS, SIZES)], 0.5, axis=1)
    scores = random_table(np.random.default_rng(seed))
    inside = feasible(COSTS, budget, (SIZES, size))
    found = best_within_two(scores, (COSTS, SIZES), (budget, size), inside[0])
    assert total(scores, found) == pytest.approx(max(total(scores, c) for c in inside))


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
