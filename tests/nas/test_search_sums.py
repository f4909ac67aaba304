"""Sums that stand for whole networks, decoded with pairs and corrected by networks, against enumeration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from problems import RAGGED, all_choices, random_table, total

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import Constraint
from hwnas.nas.decode import OptionTable
from hwnas.nas.milp import Pairs
from hwnas.nas.sums import Sums, corrected, judged_candidates, preferences

OPTIONS = (3, 4, 4, 4, 3)
LEFT, RIGHT = (1, 1), (2, 2)  # options of neighbours that lose more together than alone
TOGETHER = 1.0


def limits(costs: OptionTable, budget: float, sizes: OptionTable | None = None, size: float = 0.0) -> AdditiveSet:
    return AdditiveSet(
        Constraint("ms", AdditiveCosts(costs), budget, budget),
        None if sizes is None else Constraint("kb", AdditiveCosts(sizes), size, size),
    )


def some_pairs(rng: np.random.Generator, options: Sequence[int], count: int) -> Pairs:
    """Of any two decisions, of both signs, so large that they matter."""
    found = {}
    for _ in range(count):
        a, b = sorted(rng.choice(len(options), 2, replace=False).tolist())
        key = (a, int(rng.integers(options[a]))), (b, int(rng.integers(options[b])))
        found[key] = float(rng.normal(scale=2.0))
    return found


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_the_decode_with_pairs_is_that_of_enumeration(seed: int, second: bool) -> None:
    rng = np.random.default_rng(seed)
    losses, costs, sizes = (random_table(rng, RAGGED) for _ in range(3))
    sums = Sums(losses, some_pairs(rng, RAGGED, 6))
    budget, size = (float(np.quantile([total(each, c) for c in all_choices(each)], 0.6)) for each in (costs, sizes))
    feasible = limits(costs, budget, sizes, size) if second else limits(costs, budget)
    inside = [choices for choices in all_choices(costs) if feasible.keeps(choices)]
    expected = min(inside, key=sums.loss)
    assert sums.best(feasible) == expected
    pairs = [value for ((a, i), (b, j)), value in sums.pairs.items() if expected[a] == i and expected[b] == j]
    assert sums.loss(expected) == pytest.approx(total(losses, expected) + sum(pairs))


def test_what_nothing_keeps_has_no_best() -> None:
    costs = random_table(np.random.default_rng(0), RAGGED)
    least = min(total(costs, choices) for choices in all_choices(costs))
    sums = Sums(costs, {((0, 0), (2, 1)): 1.0})
    assert sums.best(limits(costs, least - 0.1)) is None


def test_a_table_around_a_network_knows_its_neighbours() -> None:
    rng = np.random.default_rng(3)
    sums = Sums(random_table(rng, RAGGED), some_pairs(rng, RAGGED, 8))
    near = (2, 0, 3, 1)
    table = sums.around(near)
    for decision, count in enumerate(RAGGED):
        for option in range(count):
            other = (*near[:decision], option, *near[decision + 1 :])
            assert total(table, other) - total(table, near) == pytest.approx(sums.loss(other) - sums.loss(near))


def test_preferences_span_eight_in_the_middle() -> None:
    found = preferences([[0.0, 0.1, 0.4], [0.0, 0.2], [0.0, 0.0, -0.1]])
    expected = [[0.0, -4.0, -16.0], [0.0, -8.0], [0.0, 0.0, 4.0]]
    assert [pytest.approx(row) for row in found] == expected


def scores_of(rng: np.random.Generator) -> list[list[float]]:
    """The first option of every decision is the parent's own."""
    return [[0.0, *rng.uniform(0.1, 1.0, size=count - 1).tolist()] for count in OPTIONS]


def test_sums_that_do_not_mislead_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    scores = scores_of(rng)
    networks = [tuple(int(rng.integers(count)) for count in OPTIONS) for _ in range(12)]
    found = corrected(scores, {one: 3.0 * total(scores, one) for one in networks})
    assert not found.pairs
    for row, expected in zip(found.table, scores, strict=True):
        assert row == pytest.approx([3.0 * value for value in expected])
    few = dict.fromkeys(networks[:3], 1.0)
    assert corrected(scores, few) == Sums(scores)


@pytest.mark.parametrize("seed", range(4))
def test_the_correction_finds_what_neighbours_lose_together(seed: int) -> None:
    """From networks that were drawn at random, it predicts others better than their sums do."""
    rng = np.random.default_rng(seed)
    scores = scores_of(rng)

    def truth(choices: Sequence[int]) -> float:
        together = choices[LEFT[0]] == LEFT[1] and choices[RIGHT[0]] == RIGHT[1]
        return 1.5 * total(scores, choices) + TOGETHER * together

    networks = list(all_choices(scores))
    rng.shuffle(networks)
    seen = {one: truth(one) for one in networks[:60]}
    found = corrected(scores, seen)
    with_both = [one for one in networks[60:] if (one[LEFT[0]], one[RIGHT[0]]) == (LEFT[1], RIGHT[1])]
    errors = [np.mean([abs(each.loss(one) - truth(one)) for one in with_both]) for each in (found, Sums(scores))]
    assert errors[0] < 0.3 * errors[1]
    assert found.pairs[LEFT, RIGHT] > 0.5 * TOGETHER


@pytest.mark.parametrize("seed", range(4))
def test_where_the_sums_mislead_the_best_network_is_found_all_the_same(seed: int) -> None:
    """What is cheap alone loses much together; budgets leave a third of all networks."""
    rng = np.random.default_rng(seed)
    scores = scores_of(rng)
    scores[LEFT[0]][LEFT[1]] = scores[RIGHT[0]][RIGHT[1]] = 0.1
    costs = [[3.0, *rng.uniform(1.0, 2.0, count - 1).tolist()] for count in OPTIONS]
    costs[LEFT[0]][LEFT[1]] = costs[RIGHT[0]][RIGHT[1]] = 0.5  # tempting

    def truth(choices: Sequence[int]) -> float:
        together = choices[LEFT[0]] == LEFT[1] and choices[RIGHT[0]] == RIGHT[1]
        return 1.2 * total(scores, choices) + TOGETHER * together

    asked: list[tuple[int, ...]] = []

    def whole(networks: Sequence[tuple[int, ...]]) -> list[float]:
        asked.extend(networks)
        return [truth(one) for one in networks]

    budget = float(np.quantile([total(costs, each) for each in all_choices(costs)], 0.3))
    feasible = limits(costs, budget)
    inside = [each for each in all_choices(costs) if feasible.keeps(each)]
    best = min(inside, key=truth)
    by_sums = Sums(scores).best(feasible)
    assert by_sums is not None
    sums, judged = judged_candidates(scores, [feasible], whole, count=24, seed=0)
    assert asked == list(judged)
    assert len(asked) == len(set(asked)) <= 24
    assert set(asked) <= set(inside)
    assert asked[0] == by_sums
    assert truth(by_sums) > truth(best) + 0.1
    assert min(judged.values()) == pytest.approx(truth(best))
    found = sums.best(feasible)
    assert found is not None
    assert truth(found) == pytest.approx(truth(best))
    again, others = judged_candidates(scores, [feasible], whole, count=24, seed=0)
    assert (again, others) == (sums, judged)


def test_several_budgets_share_their_candidates() -> None:
    rng = np.random.default_rng(1)
    scores, costs = scores_of(rng), random_table(rng, OPTIONS)
    sums = sorted(total(costs, each) for each in all_choices(costs))
    tight, loose = limits(costs, sums[len(sums) // 20]), limits(costs, sums[len(sums) // 2])
    _, judged = judged_candidates(
        scores, [tight, loose], lambda networks: [total(scores, one) for one in networks], count=12, seed=0
    )
    assert 6 <= len(judged) <= 12
    assert sum(map(tight.keeps, judged)) >= 3
    assert not all(map(tight.keeps, judged))
    assert all(map(loose.keeps, judged))
    _, few = judged_candidates(
        scores, [tight, loose], lambda networks: [total(scores, one) for one in networks], count=5, seed=0
    )
    assert len(few) == 5
    none = judged_candidates(scores, [loose], lambda _: [], count=0, seed=0)
    assert none == (Sums(scores), {})
