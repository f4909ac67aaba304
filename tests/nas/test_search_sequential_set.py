"""MetaQNN's chains under a budget, against enumeration; and the strategies that propose them."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from hwnas.arch import OpSpec
from hwnas.arch.choice_costs import SequentialCosts
from hwnas.arch.spaces.chain import ChainSpace, chain
from hwnas.errors import InputError
from hwnas.nas.constraint import Constraint
from hwnas.nas.sequential_set import SequentialSet
from hwnas.nas.strategies import strategy

SMALL = chain(0.05, 4, 1, 2, layers=3)  # 8 channels only in convolutions


def row_ms(spec: OpSpec) -> float:
    """A made-up latency of an op, such that no two chains cost the same."""
    return float(np.sqrt(spec.cin * 3.0 + spec.cout * 7.0 + spec.kernel * spec.height / 1.7) + len(spec.kind) / 9.0)


CHAINS = SMALL.costs(row_ms)


@cache
def every_chain() -> dict[tuple[int, ...], float]:
    """All that the space takes for a chain of its own, and the sum of the rows of its network."""
    found = {}
    for choices in itertools.product(*map(range, SMALL.options)):
        try:
            network = SMALL.network(SMALL.architecture(choices))
        except InputError:
            continue
        found[choices] = sum(row_ms(spec) for _, spec in network.ops)
    return found


def within(costs: SequentialCosts, budget: float) -> SequentialSet:  # type: ignore[type-arg]
    return SequentialSet(costs, Constraint("ms", costs, budget, budget))


def feasible(share: float, space: ChainSpace = SMALL) -> tuple[SequentialSet, float]:  # type: ignore[type-arg]
    budget = float(np.quantile(list(every_chain().values()), share)) + 1e-9
    return within(space.costs(row_ms), budget), budget


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_every_prefix_allows_what_can_be_completed(share: float) -> None:
    found, budget = feasible(share)
    inside = {choices for choices, cost in every_chain().items() if cost <= budget}
    for length, count in enumerate(SMALL.options):
        alive = {choices[: length + 1] for choices in inside}
        for prefix in {choices[:length] for choices in every_chain()}:
            assert found.allowed(prefix) == tuple((*prefix, option) in alive for option in range(count))
    for choices in itertools.product(*map(range, SMALL.options)):
        assert found.keeps(choices) == (choices in inside)
    assert not found.keeps(next(iter(inside))[:-1])


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 1.0), st.integers(0, 2**32 - 1))
def test_the_decode_is_the_best_of_all_chains_within_the_budget(share: float, seed: int) -> None:
    found, budget = feasible(share)
    scores = [np.random.default_rng(seed + at).normal(size=count).tolist() for at, count in enumerate(SMALL.options)]
    inside = [choices for choices, cost in every_chain().items() if cost <= budget]
    best = max(inside, key=lambda choices: sum(row[choice] for row, choice in zip(scores, choices, strict=True)))
    assert found.decode(scores) == best


def test_of_equal_scores_the_cheapest_chain_is_decoded() -> None:
    found, _ = feasible(1.0)
    flat = [[0.0] * count for count in SMALL.options]
    assert found.decode(flat) == min(every_chain(), key=every_chain().__getitem__)
    with pytest.raises(InputError, match="finite"):
        found.decode([[float("nan")] * count for count in SMALL.options])


def test_draws_are_uniform() -> None:
    costs = sorted(every_chain().values())
    place = max(range(40, 60), key=lambda k: costs[k + 1] - costs[k])
    found = within(CHAINS, (costs[place] + costs[place + 1]) / 2)
    inside = [choices for choices in every_chain() if found.keeps(choices)]
    assert found.count == len(inside) == place + 1
    counts = dict.fromkeys(inside, 0)
    rng = np.random.default_rng(1)
    for _ in range(30 * len(inside)):
        counts[found.sample(rng)] += 1
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_without_a_budget_all_chains_count() -> None:
    assert within(CHAINS, float("inf")).count == len(every_chain())


def test_a_budget_below_the_cheapest_chain_is_refused() -> None:
    with pytest.raises(InputError, match="no architecture is within"):
        within(CHAINS, min(every_chain().values()) - 0.01)


@pytest.mark.parametrize("name", ["random", "metaqnn"])
def test_strategies_find_good_chains_of_twelve_layers_within_the_budget(name: str) -> None:
    """The score rewards convolutions of 5 x 5 pixels; a chain of only cheap layers has none."""
    space = chain(0.25, 8, 1, 10)
    costs = space.costs(row_ms)
    smallest = within(costs, 1e9).decode([[0.0] * count for count in space.options])
    found = within(costs, costs.cost(smallest) + 200.0)
    maker = strategy(name).sampler
    assert maker is not None
    sampler, again = maker(found, 0), maker(found, 0)
    scores = []
    for _ in range(60):
        choices = sampler.ask()
        assert choices == again.ask()
        assert found.keeps(choices)
        network = space.network(space.architecture(choices))
        assert costs.cost(choices) == pytest.approx(sum(row_ms(spec) for _, spec in network.ops))
        scores.append(sum(spec.kernel == 5 and spec.kind == "conv" for _, spec in network.ops) / space.layers)
        for one in (sampler, again):
            one.tell(choices, scores[-1])
    assert max(scores) >= 0.25
    if name == "metaqnn":
        assert np.mean(scores[-15:]) > np.mean(scores[:15])
