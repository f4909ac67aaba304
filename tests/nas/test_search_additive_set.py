"""What may be proposed, against enumeration."""

from __future__ import annotations

import itertools
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
from hwnas.nas.decode import OptionTable

COSTS = toy_model().costs_ms
SIZES = random_table(np.random.default_rng(7))


def limits(costs: OptionTable, budget: float, sizes: OptionTable | None = None, size: float = 0.0) -> AdditiveSet:
    return AdditiveSet(
        Constraint("ms", AdditiveCosts(costs), budget, budget),
        None if sizes is None else Constraint("kb", AdditiveCosts(sizes), size, size),
    )


def check_every_prefix(given: AdditiveSet) -> None:
    """`allowed` of every prefix says what enumeration says."""
    costs = given.latency.costs.table
    inside = {c for c in all_choices(costs) if all(limit.keeps(c) for limit in given.constraints)}
    if not inside:
        with pytest.raises(InputError, match="no architecture is within"):
            given.check()
        return
    assert given.options == tuple(map(len, costs))
    for length, row in enumerate(costs):
        alive = {choices[: length + 1] for choices in inside}
        for prefix in itertools.product(*(range(len(each)) for each in costs[:length])):
            assert given.allowed(prefix) == tuple((*prefix, option) in alive for option in range(len(row)))
    for choices in all_choices(costs):
        assert given.keeps(choices) == (choices in inside)
    assert given.count >= 1
    rng = np.random.default_rng(0)
    assert all(given.sample(rng) in inside for _ in range(20))


# Few different values, and such as do not add up exactly: sums that tie, or tie but for rounding, are common.
cost = st.sampled_from([-0.3, -0.1, 0.0, 0.1, 0.2, 0.3, 0.7, 1.0, 1.1, 2.2])
tables = st.lists(st.lists(st.tuples(cost, cost), min_size=1, max_size=4), min_size=1, max_size=4)


@given(tables, st.data())
def test_under_one_limit_exactly_what_can_be_completed_is_allowed(
    table: list[list[tuple[float, float]]], data: st.DataObject
) -> None:
    costs = [[first for first, _ in row] for row in table]
    sums = sorted({total(costs, choices) for choices in all_choices(costs)})
    check_every_prefix(limits(costs, data.draw(st.sampled_from([sums[0] - 1.0, *sums, math.inf]))))


@given(tables, st.data())
def test_under_two_limits_exactly_what_can_be_completed_is_allowed(
    table: list[list[tuple[float, float]]], data: st.DataObject
) -> None:
    # Quarters add up exactly: of sums that tie but for rounding, which one is kept is a matter of their order.
    both = [[[round(4 * option[k]) / 4 for option in row] for row in table] for k in range(2)]
    budget, size = (
        data.draw(st.sampled_from([*sorted({total(each, c) for c in all_choices(each)}), math.inf])) for each in both
    )
    check_every_prefix(limits(both[0], budget, both[1], size))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.8, 1.0])
def test_every_prefix_of_the_toy_space(share: float) -> None:
    budget, size = (float(np.quantile([total(t, c) for c in all_choices(t)], share)) for t in (COSTS, SIZES))
    check_every_prefix(limits(COSTS, budget))
    check_every_prefix(limits(COSTS, budget, SIZES, size + 0.5))


@given(tables, st.data())
def test_no_walk_along_what_is_allowed_ends_nowhere(
    table: list[list[tuple[float, float]]], data: st.DataObject
) -> None:
    """With sums that tie but for rounding, too."""
    both = [[[option[k] for option in row] for row in table] for k in range(2)]
    known = data.draw(st.sampled_from(list(all_choices(both[0]))))
    found = limits(both[0], total(both[0], known), both[1], total(both[1], known))
    walk: list[int] = []
    for _ in found.options:
        walk.append(data.draw(st.sampled_from([k for k, may in enumerate(found.allowed(walk)) if may])))
    assert found.keeps(walk)


def test_of_two_sums_that_tie_but_for_rounding_neither_is_over_the_limit() -> None:
    """One of them completes the known architecture's prefix, and it is an ulp above the limit."""
    first, second = ([[-0.3], [-0.3], [a, b], [a, b]] for a, b in ((-0.1, -0.3), (-0.3, -0.1)))
    known, other = (0, 0, 1, 0), (0, 0, 0, 1)
    assert total(first, known) != total(first, other) or total(second, known) != total(second, other)
    given = limits(first, total(first, known), second, total(second, known))
    assert all(limit.keeps(choices) for limit in given.constraints for choices in (known, other))
    check_every_prefix(given)


def test_draws_are_uniform() -> None:
    budget = float(np.quantile([total(COSTS, choices) for choices in all_choices(COSTS)], 0.305))  # between two
    found = limits(COSTS, budget)
    inside = [choices for choices in all_choices(COSTS) if found.keeps(choices)]
    counts = dict.fromkeys(inside, 0)
    rng = np.random.default_rng(1)
    for _ in range(30 * len(inside)):
        counts[found.sample(rng)] += 1
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_a_large_space_under_two_limits() -> None:
    """Of 13^4 · 9^6 architectures, which no enumeration sees: every walk ends within both limits."""
    rng = np.random.default_rng(3)
    costs, sizes = ([rng.uniform(0.1, 1.0, n).tolist() for n in [13] * 4 + [9] * 6] for _ in range(2))
    found = limits(costs, sum(map(min, costs)) + 1.5, sizes, sum(map(min, sizes)) + 1.5)
    for _ in range(20):
        walk: list[int] = []
        for _ in found.options:
            walk.append(int(rng.choice([k for k, may in enumerate(found.allowed(walk)) if may])))
        assert found.keeps(walk)


def test_options_of_the_toy_space() -> None:
    assert limits(COSTS, math.inf).options == tuple(OPTIONS)
