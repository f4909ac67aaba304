"""Decisions that hold together, as the edges into a node of a cell do: everything that decides, against enumeration."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_table, total
from scipy.stats import chisquare

from hwnas.arch import Group, space_instance
from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.arch.groups import Groups
from hwnas.arch.spaces.darts_cells import EDGES, OPTIONS
from hwnas.errors import InfeasibleBudgetError, InputError
from hwnas.latency.additive_latency import AdditiveLatency
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constrained_relaxation import ConstrainedRelaxation
from hwnas.nas.constraint import Constraint, latency_constraint
from hwnas.nas.decode import FeasibleSampler, OptionTable, decode, kept_scores
from hwnas.nas.objective import ConstraintPenalty, Expected, ExpectedLatency, padded
from hwnas.nas.select import candidates, costlier
from hwnas.nas.strategies import strategies
from hwnas.nas.strategies.gumbel import Gumbel
from hwnas.schema import json_as

# A cell of two nodes with three ops, of which the first is none, and a decision of its own.
SIZES = [2, 3, 3, 3, 3, 3]
GROUPS: Groups = (Group((1, 2), (0, 0)), Group((3, 4, 5), (0, 0, 0)))
DARTS = space_instance("darts", width=0.25, resolution=8, channels=1, classes=10, depth=3)


def valid(options: list[int], groups: Groups) -> list[tuple[int, ...]]:
    return [
        choices
        for choices in itertools.product(*map(range, options))
        if all(
            sum(choices[d] != off for d, off in zip(group.decisions, group.off, strict=True)) == group.keep
            for group in groups
        )
    ]


EVERYTHING = valid(SIZES, GROUPS)
COSTS = [
    [0.0 if k == 0 and d else abs(v) for k, v in enumerate(row)]
    for d, row in enumerate(random_table(np.random.default_rng(0), SIZES))
]
WEIGHTS = [[abs(value) for value in row] for row in random_table(np.random.default_rng(1), SIZES)]
MODEL = AdditiveLatency(tuple(map(tuple, COSTS)), 0.3, 1.2, 0.1, groups=GROUPS)


def limits(share: float, share_of_size: float | None = None) -> AdditiveSet:
    """At shares of what the architectures take, between two of them."""

    def between(taken: list[float], share: float) -> float:
        taken = [*sorted(taken), max(taken) + 0.1]
        rank = int(share * (len(taken) - 2))
        return (taken[rank] + taken[rank + 1]) / 2

    latency = between([MODEL.predict_ms(c) for c in EVERYTHING], share)
    size = None
    if share_of_size is not None:
        budget = between([total(WEIGHTS, c) for c in EVERYTHING], share_of_size)
        size = Constraint("kb", AdditiveCosts(WEIGHTS, GROUPS), budget, budget)
    return AdditiveSet(latency_constraint(MODEL, latency), size)


def inside(within: AdditiveSet) -> list[tuple[int, ...]]:
    return [c for c in EVERYTHING if all(limit.keeps(c) for limit in within.constraints)]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Groups, list[OptionTable]]:
    """A group or two, with integer scores and two integer costs, so that sums are exact and ties come up."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=6))
    cut = draw(st.integers(1, len(sizes)))
    groups = []
    for members in (range(cut), range(cut, len(sizes))):
        if members and draw(st.booleans()):
            off = tuple(draw(st.integers(-1, sizes[decision] - 1)) for decision in members)
            groups.append(Group(tuple(members), off, draw(st.integers(1, len(members)))))
    number = st.integers(-4, 9).map(float)
    return tuple(groups), [[draw(st.lists(number, min_size=n, max_size=n)) for n in sizes] for _ in range(3)]


@given(problems(), st.integers(-10, 30), st.integers(-10, 30))
def test_decode_is_exact_under_one_limit_and_under_two(
    problem: tuple[Groups, list[OptionTable]], budget: int, size: int
) -> None:
    groups, (scores, costs, sizes) = problem
    everything = [c for c in valid([len(row) for row in costs], groups) if total(costs, c) <= budget]
    best = max(((total(scores, c), -total(costs, c)) for c in everything), default=None)
    found = decode(scores, costs, budget, groups=groups)
    assert (None if found is None else (total(scores, found), -total(costs, found))) == best
    assert found is None or found in everything
    both = [c for c in everything if total(sizes, c) <= size]
    found = decode(scores, costs, budget, (sizes, size), groups)
    assert (None if found is None else total(scores, found)) == max((total(scores, c) for c in both), default=None)
    assert found is None or found in both


@pytest.mark.parametrize("seed", range(3))
def test_what_is_decoded_at_the_very_budget_keeps_it(seed: int) -> None:
    """To the last bit: both sum in the same order."""
    scores = random_table(np.random.default_rng(seed), SIZES)
    for choices in EVERYTHING[::3]:
        limit = Constraint("ms", AdditiveCosts(COSTS, GROUPS), math.inf, math.inf)
        budget = limit.value(choices)
        exact = AdditiveSet(Constraint("ms", AdditiveCosts(COSTS, GROUPS), budget, budget))
        found = exact.decode(scores)
        assert found is not None
        assert exact.latency.keeps(found)
        assert total(scores, found) == pytest.approx(max(total(scores, c) for c in inside(exact)), abs=1e-12)


@pytest.mark.parametrize("shares", [(0.0, None), (0.2, None), (0.7, None), (0.95, None), (0.6, 0.5), (0.3, 1.0)])
def test_draws_are_uniform_over_what_keeps_to_groups_and_limits(shares: tuple[float, float | None]) -> None:
    within = limits(*shares)
    expected = inside(within)
    assert within.count == len(expected)
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(expected, 0)
    for _ in range(30 * len(expected)):
        counts[within.sample(rng)] += 1
    if len(expected) > 1:
        assert chisquare(list(counts.values())).pvalue > 1e-3


def test_two_limits_that_only_just_go_together_leave_a_draw() -> None:
    choices = EVERYTHING[17]
    both = [Constraint("", AdditiveCosts(table, GROUPS), total(table, choices), 0.0) for table in (COSTS, WEIGHTS)]
    sampler = FeasibleSampler(COSTS, both[0].raw_budget, (WEIGHTS, both[1].raw_budget), GROUPS, cells=2)
    drawn = sampler.sample(np.random.default_rng(0))
    assert drawn in EVERYTHING
    assert total(WEIGHTS, drawn) <= both[1].raw_budget + 1e-12


def test_no_draw_where_only_choices_that_break_a_group_are_within_the_limit() -> None:
    cheapest = min(total(COSTS, c) for c in EVERYTHING)
    assert sum(map(min, COSTS)) < cheapest / 2
    with pytest.raises(InputError, match="no architecture is within the budget"):
        FeasibleSampler(COSTS, cheapest * 0.99, groups=GROUPS)


@given(st.integers(0, 1000), st.floats(0.0, 1.0), st.none() | st.floats(0.3, 1.0))
@settings(max_examples=30)
def test_costlier_neighbours_swap_an_op_or_an_edge(index: int, share: float, share_of_size: float | None) -> None:
    within, choices = limits(share, share_of_size), EVERYTHING[index % len(EVERYTHING)]
    preferences = random_table(np.random.default_rng(index), SIZES)

    def kept(c: tuple[int, ...]) -> set[tuple[int, int]]:
        return {(d, option) for d, option in enumerate(c) if d == 0 or option}

    expected = [
        c for c in inside(within) if len(kept(c) - kept(choices)) == 1 and total(COSTS, c) > total(COSTS, choices)
    ]
    found = costlier(choices, preferences, within)
    assert sorted(found) == sorted(expected)
    gains = [total(preferences, c) for c in found]
    assert gains == pytest.approx(sorted(gains, reverse=True))


@pytest.mark.parametrize("shares", [(0.3, None), (0.6, 0.4)])
def test_a_prefix_is_completed_at_least_cost_if_it_can_be(shares: tuple[float, float | None]) -> None:
    within = limits(*shares)
    for length in range(len(SIZES) + 1):
        for prefix in list(itertools.product(*map(range, SIZES[:length])))[::7]:
            whole = [c for c in inside(within) if c[:length] == prefix]
            found = within._grouped_completion(prefix)
            assert (found is None) == (not whole)
            if found is not None:
                assert found in whole
                assert total(COSTS, found) == pytest.approx(min(total(COSTS, c) for c in whole), abs=1e-12)


def test_candidates_keep_to_groups_and_limits() -> None:
    within = limits(0.3, 0.6)
    scores = random_table(np.random.default_rng(2), SIZES)
    found = list(candidates(scores, within, count=8, seed=0))
    assert found[0] == within.decode(scores)
    assert len(set(found)) == len(found) == 8
    assert set(found) <= set(inside(within))


def test_the_model_knows_its_fastest_and_slowest_architecture_and_goes_through_json() -> None:
    latencies = [MODEL.predict_ms(c) for c in EVERYTHING]
    assert (MODEL.smallest_ms, MODEL.largest_ms) == pytest.approx((min(latencies), max(latencies)))
    with pytest.raises(InfeasibleBudgetError):
        MODEL.raw_budget_ms(MODEL.smallest_ms * 0.99)
    assert latency_constraint(MODEL, MODEL.smallest_ms).keeps(min(EVERYTHING, key=MODEL.predict_ms))
    assert json_as(json.dumps(asdict(MODEL)), AdditiveLatency, "x") == MODEL
    kept = [(1, 0), (2, 1), (0, 2), (0, 1, 2), (0, 1, 2), (1, 0)]
    left = MODEL.restricted(kept)
    inner = valid([len(row) for row in kept], left.groups)
    same = [tuple(row[k] for row, k in zip(kept, c, strict=True)) for c in inner]
    assert sorted(same) == sorted(c for c in EVERYTHING if all(k in row for k, row in zip(c, kept, strict=True)))
    assert [left.predict_ms(c) for c in inner] == pytest.approx([MODEL.predict_ms(c) for c in same])


def expectation(probabilities: list[list[float]]) -> float:
    """By enumeration: odds are the product over the kept edges, and over decisions of their own."""
    odds = {c: math.prod(probabilities[d][k] for d, k in enumerate(c) if d == 0 or k) for c in EVERYTHING}
    return sum(odds[c] * MODEL.predict_ms(c) for c in EVERYTHING) / sum(odds.values())


@pytest.mark.parametrize("concentration", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_expectation_is_the_mean_over_what_keeps_to_the_groups(seed: int, concentration: float) -> None:
    rng = np.random.default_rng(seed)
    rows = [rng.dirichlet(np.full(count, concentration)).tolist() for count in SIZES]
    expected = ExpectedLatency(MODEL, dtype=torch.float64)
    assert float(expected(padded(rows))) == pytest.approx(expectation(rows), rel=1e-9)


def test_certain_choices_give_the_predicted_latency() -> None:
    expected = ExpectedLatency(MODEL, dtype=torch.float64)
    for choices in EVERYTHING:
        one_hot = torch.nn.functional.one_hot(torch.tensor(choices), max(SIZES)).double()
        assert float(expected(one_hot)) == pytest.approx(MODEL.predict_ms(choices), rel=1e-12)


def test_edges_alike_are_used_two_of_n() -> None:
    """Costs of one for every op: what is expected is the number of kept edges; for one edge of three, 2/3."""
    ones = [[0.0, 1.0, 1.0] for _ in range(5)]
    groups = (Group((0, 1), (0, 0)), Group((2, 3, 4), (0, 0, 0)))
    even = torch.full((5, 3), 1 / 3)
    assert float(Expected(ones, groups=groups)(even)) == pytest.approx(4)
    assert float(Expected([*[[0.0] * 3] * 4, ones[0]], groups=groups)(even)) == pytest.approx(2 / 3)


def test_the_gradient_of_the_expectation_is_right() -> None:
    expected = ExpectedLatency(MODEL, dtype=torch.float64)
    logits = torch.randn(len(SIZES), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits[0, 2] = -torch.inf
    finite = torch.isfinite(logits)
    free = logits[finite].clone().requires_grad_()

    def value(x: torch.Tensor) -> torch.Tensor:
        return expected(torch.softmax(torch.full_like(logits, -torch.inf).masked_scatter(finite, x), 1))

    assert torch.autograd.gradcheck(value, (free,))


def test_a_relaxation_with_groups_is_held_to_a_budget_that_the_decode_then_meets() -> None:
    found = Gumbel(SIZES, hard=False)
    within = limits(0.4)
    constrained = ConstrainedRelaxation(found, (ConstraintPenalty(within.latency),))
    gain = padded(COSTS).float()
    optimizer = torch.optim.Adam([found.logits], lr=0.05)
    history = []
    for step in range(600):
        optimizer.zero_grad()
        (constrained.penalty() - 0.2 * (gain * torch.softmax(found.logits, 1)).sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 20 == 19:
            constrained.update()
            history.append(constrained.expected()[0].item())
    assert np.mean(history[-10:]) == pytest.approx(within.latency.target, rel=0.03)
    assert constrained.penalties[0].penalty.multiplier > 0


def by_the_rule_of_darts(probabilities: list[list[float]], cells: int = 2) -> tuple[int, ...]:
    """As the paper says it: per node the two edges with the strongest op other than none, and that op on each."""
    choices = []
    for cell in range(cells):
        for node in range(2, 6):
            rows = [probabilities[14 * cell + EDGES.index((source, node))] for source in range(node)]
            strength = [max(row[1:]) for row in rows]
            kept = sorted(range(node), key=lambda k: -strength[k])[:2]
            choices += [1 + int(np.argmax(rows[k][1:])) if k in kept else 0 for k in range(node)]
    return tuple(choices)


@pytest.mark.parametrize("seed", range(5))
def test_without_a_budget_the_decode_is_the_rule_of_darts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [rng.dirichlet(np.ones(len(OPTIONS))).tolist() for _ in DARTS.decisions]
    expected = by_the_rule_of_darts(rows)
    scores = np.log(rows).tolist()
    free = [[0.0] * len(OPTIONS) for _ in rows]
    assert decode(kept_scores(scores, DARTS.groups), free, math.inf, groups=DARTS.groups) == expected
    assert DARTS.architecture(expected).choices == expected


def test_the_most_probable_architecture_may_be_another_one() -> None:
    """Of an edge that is surely there and of no certain op, and one with a favourite op that is likely not there."""
    surely, rarely, other = [0.01, 0.35, 0.64 / 2, 0.64 / 2], [0.6, 0.4, 0.0005, 0.0005], [0.1, 0.5, 0.2, 0.2]
    scores = np.log([surely, rarely, other]).tolist()
    group, free = (Group((0, 1, 2), (0, 0, 0)),), [[0.0] * 4] * 3
    assert decode(scores, free, math.inf, groups=group) == (1, 0, 1)
    assert decode(kept_scores(scores, group), free, math.inf, groups=group) == (0, 1, 1)
    alike = [[0.25, *row[1:]] for row in (surely, rarely, other)]  # none of them more likely than another to be there
    scores = np.log(alike).tolist()
    assert decode(scores, free, math.inf, groups=group) == decode(
        kept_scores(scores, group), free, math.inf, groups=group
    )


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_whole_space_of_darts_decodes_under_one_and_two_limits(share: float) -> None:
    """Against what is drawn: no feasible architecture has a higher score, and the decoded one is feasible."""
    rng = np.random.default_rng(3)
    costs, sizes = ([[0.0, *rng.uniform(0.1, 1.0, 7)] for _ in DARTS.decisions] for _ in range(2))
    scores = kept_scores(np.log([rng.dirichlet(np.ones(8)) for _ in DARTS.decisions]).tolist(), DARTS.groups)
    model = AdditiveLatency(tuple(map(tuple, costs)), 0.0, groups=DARTS.groups)
    ms = model.smallest_ms + share * (model.largest_ms - model.smallest_ms)
    size = Constraint("kb", AdditiveCosts(sizes, DARTS.groups), 9.0, 9.0)
    for within in (AdditiveSet(latency_constraint(model, ms)), AdditiveSet(latency_constraint(model, ms + 1.5), size)):
        found = within.decode(scores)
        assert found is not None
        assert DARTS.architecture(found).choices == found
        assert all(limit.keeps(found) for limit in within.constraints)
        drawn = [within.sample(rng) for _ in range(30)]
        assert all(limit.value(c) <= limit.target + 1e-9 for c in drawn for limit in within.constraints)
        assert total(scores, found) >= max(total(scores, DARTS.architecture(c).choices) for c in drawn)


@pytest.mark.parametrize("entry", [entry for entry in strategies() if entry.relaxation], ids=lambda entry: entry.name)
def test_relaxations_take_the_options_of_a_space_with_groups(entry: object) -> None:
    relaxation = entry.relaxation(DARTS.options, torch.device("cpu"))  # type: ignore[attr-defined]
    assert relaxation.logits.shape == (28, 8)


@pytest.mark.parametrize(("share", "share_of_size"), [(0.1, None), (0.6, None), (1.0, None), (0.6, 0.7)])
def test_samplers_are_allowed_exactly_what_can_be_completed(share: float, share_of_size: float | None) -> None:
    found = limits(share, share_of_size)
    inside = {choices for choices in EVERYTHING if all(limit.keeps(choices) for limit in found.constraints)}
    for length, count in enumerate(SIZES):
        alive = {choices[: length + 1] for choices in inside}
        for prefix in itertools.product(*map(range, SIZES[:length])):
            assert found.allowed(prefix) == tuple((*prefix, option) in alive for option in range(count))
    assert {choices for choices in itertools.product(*map(range, SIZES)) if found.keeps(choices)} == inside
