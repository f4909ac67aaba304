"""The mathematics of the samplers, against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import OPTIONS, all_choices, random_table, total, toy_model
from scipy.stats import chisquare

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import Constraint
from hwnas.nas.strategies.base import guiding
from hwnas.nas.strategies.enas import ENAS, reinforce
from hwnas.nas.strategies.evolution import Evolution, mutated
from hwnas.nas.strategies.metaqnn import MetaQNN

COSTS = toy_model().costs_ms
EVERYTHING = list(all_choices(COSTS))


def within(budget: float) -> AdditiveSet:
    return AdditiveSet(Constraint("ms", AdditiveCosts(COSTS), budget, budget))


TIGHT = within(float(np.quantile([total(COSTS, choices) for choices in EVERYTHING], 0.405)))
INSIDE = [choices for choices in EVERYTHING if TIGHT.keeps(choices)]


class TestEvolution:
    def test_a_mutation_changes_one_decision_where_nothing_binds(self) -> None:
        rng, parent = np.random.default_rng(0), (1, 0, 2, 1)
        children = [mutated(parent, within(math.inf), rng) for _ in range(800)]
        changed = [[d for d in range(4) if child[d] != parent[d]] for child in children]
        assert all(len(one) == 1 for one in changed)
        counts = [sum(child == other for child in children) for other in set(children)]
        assert len(counts) == sum(count - 1 for count in OPTIONS)  # every neighbour
        assert chisquare(counts).pvalue > 1e-3

    @pytest.mark.parametrize("parent", INSIDE)
    def test_a_mutation_is_feasible_and_new(self, parent: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        for _ in range(20):
            child = mutated(parent, TIGHT, rng)
            assert TIGHT.keeps(child)
            assert child != parent

    def test_what_comes_after_a_costlier_option_makes_room_for_it(self) -> None:
        """Among architectures that just fit, one decision alone could never become costlier."""
        rng = np.random.default_rng(0)
        parent = max(INSIDE, key=lambda choices: total(COSTS, choices))
        children = {mutated(parent, TIGHT, rng) for _ in range(200)}
        assert any(sum(a != b for a, b in zip(child, parent, strict=True)) > 1 for child in children)

    def test_the_only_architecture_is_its_own_child(self) -> None:
        cheapest = tuple(int(np.argmin(row)) for row in COSTS)
        assert mutated(cheapest, within(total(COSTS, cheapest)), np.random.default_rng(0)) == cheapest

    def test_the_oldest_dies_however_good_it_is(self) -> None:
        found = Evolution(TIGHT, 0, population=3, sample=3)
        for choices, score in zip(INSIDE[:4], (9.0, 1.0, 3.0, 2.0), strict=True):
            found.tell(choices, score)
        assert found.state()["population"] == [[INSIDE[1], 1.0], [INSIDE[2], 3.0], [INSIDE[3], 2.0]]
        rng = np.random.default_rng(0)
        rng.bit_generator.state = found.state()["rng"]
        rng.choice(3, 3, replace=False)
        assert found.ask() == mutated(INSIDE[2], TIGHT, rng)  # the best of the three


class TestENAS:
    def test_probabilities_of_all_feasible_architectures_sum_to_one(self) -> None:
        log_probs, _ = ENAS(TIGHT, 0).controller(INSIDE, TIGHT)
        assert log_probs.double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)

    def test_what_is_drawn_has_the_probability_that_is_learned_from(self) -> None:
        found = ENAS(TIGHT, 0)
        with torch.no_grad():
            for parameter in found.controller.parameters():
                parameter.mul_(30.0)  # far from uniform
            expected = found.controller(INSIDE, TIGHT)[0].double().exp().numpy()
        assert expected.max() > 3 * expected.min()
        draws = [found.ask() for _ in range(1500)]
        observed = np.array([draws.count(choices) for choices in INSIDE])
        common = expected * len(draws) > 5
        counts, means = (np.append(x[common], x[~common].sum()) for x in (observed, expected * len(draws)))
        assert observed.sum() == len(draws)
        assert chisquare(counts, means * counts.sum() / means.sum()).pvalue > 1e-3

    def test_the_entropy_is_that_of_the_decisions_on_the_way(self) -> None:
        """Its mean over the distribution is the entropy of the whole: the chain rule."""
        log_probs, entropies = ENAS(TIGHT, 3).controller(INSIDE, TIGHT)
        mean = (log_probs.exp() * entropies).sum().item()
        assert mean == pytest.approx(-(log_probs.exp() * log_probs).sum().item(), rel=1e-5)

    @pytest.mark.parametrize("baseline", [0.0, 0.7])
    def test_the_mean_of_the_estimates_is_the_gradient_of_the_expected_score(self, baseline: float) -> None:
        """`Σ p(a) (R(a) - b) ∇ log p(a) = ∇ Σ p(a) R(a)`, whatever b is, under a budget too."""
        controller = ENAS(TIGHT, 1).controller.double()
        parameters = list(controller.parameters())
        scores = np.random.default_rng(2).uniform(size=len(INSIDE)).tolist()
        log_probs = controller(INSIDE, TIGHT)[0].double()
        value = (log_probs.exp() * torch.tensor(scores).double()).sum()
        exact = torch.autograd.grad(value, parameters, retain_graph=True)
        mean = [torch.zeros_like(parameter) for parameter in parameters]
        for index, score in enumerate(scores):
            loss = reinforce(log_probs[index : index + 1], [score - baseline])
            for whole, part in zip(mean, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True):
                whole -= log_probs[index].exp().detach() * part
        for left, right in zip(mean, exact, strict=True):
            assert left.numpy() == pytest.approx(right.numpy(), abs=1e-6)
        assert max(float(gradient.abs().max()) for gradient in exact) > 1e-4

    def test_no_option_is_preferred_at_the_start(self) -> None:
        free = within(math.inf)
        for seed in range(5):
            log_probs, _ = ENAS(free, seed).controller(EVERYTHING, free)
            assert log_probs.exp().detach().numpy() == pytest.approx(1 / len(EVERYTHING), rel=0.1)

    def test_the_first_score_moves_only_the_baseline(self) -> None:
        found = ENAS(TIGHT, 0, entropy_weight=0.0)
        before = [parameter.clone() for parameter in found.controller.parameters()]
        found.tell(INSIDE[0], 0.9)
        assert all(torch.equal(a, b) for a, b in zip(before, found.controller.parameters(), strict=True))
        found.tell(INSIDE[1], 0.5)
        assert not all(torch.equal(a, b) for a, b in zip(before, found.controller.parameters(), strict=True))

    def test_while_it_guides_it_asks_for_what_its_policy_prefers_again(self) -> None:
        """As often as its policy says; and afterwards what it was told then is not held for known."""
        guided, unguided, good = ENAS(TIGHT, 0), ENAS(TIGHT, 0), INSIDE[5]
        with guiding([guided]):
            for found in (guided, unguided):
                for _ in range(250):
                    for choices in (good, INSIDE[len(INSIDE) // 2], INSIDE[-1]):
                        found.tell(choices, float(choices == good))
            policy = float(guided.controller([good], TIGHT)[0].exp().detach())
            asked = [guided.ask() for _ in range(200)]
        assert policy > 0.4
        assert asked.count(good) / 200 == pytest.approx(policy, abs=0.12)
        assert [unguided.ask() for _ in range(200)].count(good) / 200 < policy**3
        assert good in [guided.ask() for _ in range(8)]

    def test_a_batch_is_one_step(self) -> None:
        found = ENAS(TIGHT, 0, batch=3)
        before = found.state()["parameters"]
        for nth, choices in enumerate(INSIDE[:3]):
            assert found.state()["parameters"] == before
            found.tell(choices, float(nth))
        assert found.state()["parameters"] != before

    def test_nothing_global_is_drawn_from(self) -> None:
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        found = ENAS(TIGHT, 0)
        found.tell(found.ask(), 0.5)
        assert torch.equal(torch.rand(1), expected)


class TestMetaQNN:
    def test_epsilon_follows_the_paper_s_schedule(self) -> None:
        found = MetaQNN(within(math.inf), 0, models=54, replays=0)
        seen = []
        for choices in EVERYTHING[:60]:
            seen.append(found.epsilon)
            found.tell(choices, 0.5)
        counts = [(epsilon, len(list(group))) for epsilon, group in itertools.groupby(seen)]
        assert counts == [
            *((1.0, 30), (0.9, 2), (0.8, 2), (0.7, 2), (0.6, 3), (0.5, 3), (0.4, 3), (0.3, 3), (0.2, 3), (0.1, 9))
        ]
        found.tell(EVERYTHING[0], 0.5)
        assert len(found.state()["scores"]) == 60, "a model that is told again does not count"

    @pytest.mark.parametrize("context", [1, 4])
    def test_its_values_are_those_of_value_iteration(self, context: int) -> None:
        """On the feasible chains of the toy space; with one option in the state, for scores of the last pair."""
        rng = np.random.default_rng(0)
        if context == 1:
            pairs = random_table(rng, [OPTIONS[3]] * OPTIONS[2])
            scores = {choices: pairs[choices[2]][choices[3]] for choices in EVERYTHING}
            inside, feasible = EVERYTHING, within(math.inf)
        else:
            inside, feasible = INSIDE, TIGHT
            scores = {choices: float(rng.normal()) for choices in inside}
        found = MetaQNN(feasible, 0, rate=0.5, replays=len(inside), context=context)
        for _ in range(12):
            for choices in inside:
                found.tell(choices, scores[choices])
        for length in range(4):
            for prefix in {choices[:length] for choices in inside}:
                for option in {choices[length] for choices in inside if choices[:length] == prefix}:
                    best = max(s for c, s in scores.items() if c[: length + 1] == (*prefix, option))
                    assert found.values(prefix)[option] == pytest.approx(best, abs=1e-2)

    def test_one_architecture_is_learned_from_its_end_to_its_start(self) -> None:
        """All four values move at the first score, as they can only in this order."""
        found = MetaQNN(within(math.inf), 0, rate=0.5, initial=0.0, replays=0)
        found.tell((0, 1, 2, 1), 8.0)
        assert [found.values((0, 1, 2, 1)[:d])[(0, 1, 2, 1)[d]] for d in range(4)] == [0.5, 1.0, 2.0, 4.0]

    def test_what_is_not_allowed_is_never_a_target(self) -> None:
        """The initial values of options that no budget allows would look best for ever."""
        found = MetaQNN(TIGHT, 0, rate=0.5, initial=9.0, replays=50, context=4)
        for _ in range(15):
            for choices in INSIDE:
                found.tell(choices, 0.25)
        assert found.values(())[INSIDE[0][0]] == pytest.approx(0.25, abs=1e-2)

    def test_known_architectures_are_not_proposed_while_there_are_others(self) -> None:
        found = MetaQNN(TIGHT, 0)
        asked = []
        for _ in range(25):
            asked.append(found.ask())
            found.tell(asked[-1], 0.5)
        assert len(set(asked)) == 25

    def test_a_space_of_one_architecture_ends(self) -> None:
        cheapest = tuple(int(np.argmin(row)) for row in COSTS)
        found = MetaQNN(within(total(COSTS, cheapest)), 0)
        for _ in range(3):
            assert found.ask() == cheapest
            found.tell(cheapest, 0.5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 0.9]))
def test_mutations_under_two_limits_are_feasible(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    sizes = random_table(rng)
    known = EVERYTHING[int(rng.integers(len(EVERYTHING)))]
    budget = total(COSTS, known) * (1 + share)
    size = total(sizes, known) + share
    feasible = AdditiveSet(
        Constraint("ms", AdditiveCosts(COSTS), budget, budget), Constraint("kb", AdditiveCosts(sizes), size, size)
    )
    child = known
    for _ in range(10):
        child = mutated(child, feasible, rng)
        assert feasible.keeps(child)
