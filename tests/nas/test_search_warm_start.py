"""What samplers carry over from one task to the next."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from problems import OPTIONS, all_choices, random_table, total, toy_model

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.errors import InputError
from hwnas.meta.sampler_tasks import SamplerTask, learn_over
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.choice_set import ChoiceSet
from hwnas.nas.constraint import Constraint
from hwnas.nas.strategies import strategies, strategy
from hwnas.nas.strategies.base import Sampler, WarmStartable
from hwnas.nas.strategies.bayesian import BayesianOptimization
from hwnas.nas.strategies.enas import ENAS
from hwnas.nas.strategies.gp import Codes, Kernel, normal_quantiles
from hwnas.nas.strategies.metaqnn import MetaQNN
from hwnas.nas.strategies.prior import ArchitecturePrior, prior_from
from hwnas.nas.strategies.warm_start import warm_start

COSTS = toy_model().costs_ms
EVERYTHING = list(all_choices(COSTS))
TABLE = random_table(np.random.default_rng(7))
SCORES = {choices: 0.8 + 0.05 * total(TABLE, choices) for choices in EVERYTHING}


def within(rank: int, costs: list[list[float]] = COSTS) -> AdditiveSet:
    budget = sorted(total(costs, choices) for choices in all_choices(costs))[rank] + 1e-9
    return AdditiveSet(Constraint("ms", AdditiveCosts(costs), budget, budget))


def made(name: str, feasible: ChoiceSet, seed: int = 0) -> Sampler:
    maker = strategy(name).sampler
    assert maker is not None
    return maker(feasible, seed)


CARRYING = [
    e.name for e in strategies() if e.sampler is not None and isinstance(made(e.name, within(5)), WarmStartable)
]


def told(found: Sampler, count: int, scale: float = 1.0, offset: float = 0.0) -> list[tuple[int, ...]]:
    asked = []
    for _ in range(count):
        asked.append(found.ask())
        found.tell(asked[-1], offset + scale * SCORES[asked[-1]])
    return asked


@functools.cache
def learned_text(name: str) -> str:
    """Of two tasks with other budgets."""
    tasks = [SamplerTask(within(rank), lambda choices: 0.1 + 0.5 * SCORES[choices]) for rank in (-1, 60)]
    maker = strategy(name).sampler
    assert maker is not None
    return json.dumps(learn_over(maker, tasks, queries=40), allow_nan=False)


def export_state(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(learned_text(name))
    return found


def test_who_carries_over() -> None:
    assert set(CARRYING) == {"enas", "metaqnn", "bayesian"}


@pytest.mark.parametrize("name", ["random", "evolution"])
def test_who_does_not_says_so(name: str) -> None:
    with pytest.raises(InputError, match="takes no warm start") as caught:
        warm_start(made(name, within(5)), {})
    assert "warm_start" in caught.value.hint
    with pytest.raises(InputError, match="takes no warm start"):
        learn_over(lambda feasible, seed: made(name, feasible, seed), [SamplerTask(within(5), SCORES.__getitem__)])


def test_nothing_is_learned_from_no_task() -> None:
    with pytest.raises(InputError, match="without a task"):
        learn_over(ENAS, [])


@pytest.mark.parametrize("name", CARRYING)
class TestCarriesOver:
    def test_what_was_learned_goes_round(self, name: str) -> None:
        """Given on without a new score, it is the same to the letter."""
        given = export_state(name)
        found = made(name, within(30))
        warm_start(found, given)
        assert isinstance(found, WarmStartable)
        assert json.dumps(found.export_state()) == json.dumps(given)

    def test_it_forgets_the_task_before(self, name: str) -> None:
        """A sampler that was used and a new one start alike from the same thing, but for their random numbers."""
        given = export_state(name)
        used, new = made(name, within(30), seed=3), made(name, within(30), seed=3)
        if name != "bayesian":  # whose draws are candidates for good
            told(used, 12)
        warm_start(used, given)
        warm_start(new, given)
        left, right = used.state(), new.state()
        assert {key: left[key] for key in left if key != "rng"} == {key: right[key] for key in right if key != "rng"}

    def test_it_keeps_the_budget_of_the_new_task(self, name: str) -> None:
        tight = within(20)
        found = made(name, tight)
        warm_start(found, export_state(name))
        assert all(map(tight.keeps, told(found, 30)))

    @pytest.mark.parametrize("after", [0, 5, 20])
    def test_it_goes_on_from_its_state(self, name: str, after: int) -> None:
        found, other = (made(name, within(60), seed) for seed in (3, 4))
        warm_start(found, export_state(name))
        told(found, after)
        text = json.dumps(found.state(), allow_nan=False)
        other.restore(json.loads(text))
        assert json.dumps(other.state()) == text
        assert told(other, 15) == told(found, 15)
        assert json.dumps(other.state()) == json.dumps(found.state())

    def test_the_best_is_found_with_fewer_scores(self, name: str) -> None:
        """A related task: scores on another scale, with a little of their own in them, and another budget."""
        feasible, rng = within(70), np.random.default_rng(1)
        scores = {choices: 0.3 + 0.4 * score + rng.normal(scale=0.002) for choices, score in SCORES.items()}
        best = max(filter(feasible.keeps, EVERYTHING), key=scores.__getitem__)
        given = export_state(name)

        def needed(found: Sampler) -> int:
            for count in range(1, 80):
                choices = found.ask()
                if choices == best:
                    return count
                found.tell(choices, scores[choices])
            return 80

        scratch, carried = [], []
        for seed in range(5):
            scratch.append(needed(made(name, feasible, seed)))
            found = made(name, feasible, seed)
            warm_start(found, given)
            carried.append(needed(found))
        assert np.mean(carried) <= np.mean(scratch) / 2

    def test_another_sort_or_space_is_refused(self, name: str) -> None:
        found = made(name, within(5))
        other = made(name, within(3, [[1.0, 2.0], [1.0, 1.5]]))
        for _ in range(4):
            choices = other.ask()
            other.tell(choices, 0.1 * sum(choices))
        assert isinstance(other, WarmStartable)
        with pytest.raises(InputError, match="2, 2 options"):
            warm_start(found, other.export_state())
        with pytest.raises(InputError, match=r"starts from a .*was given a table of logarithms"):
            warm_start(found, {"kind": "table of logarithms", "options": OPTIONS})


class TestENAS:
    def test_it_draws_from_the_distribution_that_was_learned(self) -> None:
        feasible = within(30)
        inside = [choices for choices in EVERYTHING if feasible.keeps(choices)]
        found, fresh = ENAS(feasible, 0), ENAS(feasible, 1)
        told(found, 60)
        warm_start(fresh, found.export_state())
        expected, got = (one.controller(inside, feasible)[0].exp().detach().numpy() for one in (found, fresh))
        assert np.array_equal(expected, got)
        assert expected.max() > 2 * expected.min()

    def test_the_first_score_is_the_baseline_whatever_its_scale(self) -> None:
        found = ENAS(within(30), 0, entropy_weight=0.0)
        warm_start(found, export_state("enas"))
        before = found.export_state()
        found.tell(found.ask(), 1000.0)
        assert found.export_state() == before


class TestMetaQNN:
    def test_epsilon_is_at_its_end(self) -> None:
        found = MetaQNN(within(-1), 0)
        assert found.epsilon == 1.0
        warm_start(found, export_state("metaqnn"))
        assert found.epsilon == 0.1
        told(found, 5)
        assert found.epsilon == 0.1

    def test_longer_states_decide_nothing_from_scratch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = MetaQNN(within(60), 0)
        monkeypatch.setattr("hwnas.nas.strategies.metaqnn._LONGEST", 1)
        assert told(found, 40) == told(MetaQNN(within(60), 0), 40)

    def test_it_goes_by_the_longest_state_that_three_architectures_passed(self) -> None:
        """Before the last decision: one that went (0, 0, 0), one that went (1, 0, 0), and three of (., 1, 0)."""
        scores = {(0, 0, 0, option): 0.1 for option in range(2)} | {(1, 0, 0, option): 0.8 for option in range(2)}
        scores |= {(first, 1, 0, 0): 0.6 for first in range(3)}
        found = MetaQNN(within(-1), 0, replays=200)
        for choices, score in scores.items():
            found.tell(choices, score)
        new = MetaQNN(within(-1), 0)
        warm_start(new, found.export_state())
        by_last = found.values((0, 0, 0))
        assert found.values((2, 2, 0)) == by_last == found.values((1, 0, 0))
        assert new.values((0, 0, 0)) == new.values((1, 0, 0)), "two architectures are too few"
        assert new.values((2, 2, 0)) == by_last, "no longer state is known"
        assert new.values((0, 0, 0)) != by_last, "four passed through (0, 0)"
        found.tell((0, 0, 0, 2), 0.1)
        warm_start(new, found.export_state())
        assert new.values((0, 0, 0)) == pytest.approx([0.1] * OPTIONS[3], abs=0.15)

    @pytest.mark.parametrize("offset", [-0.6, 0.3])
    def test_a_shift_of_all_scores_changes_nothing(self, offset: float) -> None:
        """Scores that are lower or higher throughout lead to the same proposals, once a first one was told."""
        given = export_state("metaqnn")
        plain, shifted = MetaQNN(within(60), 0), MetaQNN(within(60), 0)
        for found in (plain, shifted):
            warm_start(found, given)
        assert told(plain, 25) == told(shifted, 25, offset=offset)

    @pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, float("nan")]])
    def test_damaged_values_are_refused(self, values: list[float]) -> None:
        given = export_state("metaqnn")
        given["values"][3][1] = values
        with pytest.raises(InputError, match="must have 3 finite values"):
            warm_start(MetaQNN(within(60), 0), given)

    def test_another_context_is_refused(self) -> None:
        with pytest.raises(InputError, match="last 1 options, but this agent's 2"):
            warm_start(MetaQNN(within(5), 0, context=2), export_state("metaqnn"))


class TestPrior:
    def test_it_is_gaussian_conditioning_with_a_free_intercept_per_task(self) -> None:
        """Against a joint normal in which the intercepts have a huge variance."""
        rng, kernel, codes = np.random.default_rng(0), Kernel(1.7, 2.0, 0.1), Codes(OPTIONS)
        picks = [EVERYTHING[int(index)] for index in rng.permutation(len(EVERYTHING))[:20]]
        z = rng.normal(size=20)
        pairs = list(zip(picks, z.tolist(), strict=True))
        prior = ArchitecturePrior(OPTIONS, [pairs[:12], pairs[12:]], kernel)
        rows, every = codes.rows(picks), codes.rows(EVERYTHING)
        of_task = np.repeat(np.eye(2), [12, 8], axis=0)
        covariance = kernel(codes.distances(rows, rows)) + 0.1 * np.eye(20) + 1e6 * of_task @ of_task.T
        expected = kernel(codes.distances(every, rows)) @ np.linalg.solve(covariance, z)
        assert [prior(choices) for choices in EVERYTHING] == pytest.approx(expected.tolist(), abs=1e-5)

    def test_what_a_task_happened_to_score_does_not_matter(self) -> None:
        """One task scored the best half, one the worst; their ranks agree, and the prior still tells the halves."""
        ranked = sorted(EVERYTHING, key=SCORES.__getitem__)
        half = len(ranked) // 2
        tasks = []
        for part in (ranked[half // 2 :: 2], ranked[: 3 * half // 2 : 2]):
            z = normal_quantiles([SCORES[choices] for choices in part])
            tasks.append(list(zip(part, z.tolist(), strict=True)))
        prior = ArchitecturePrior(OPTIONS, tasks)
        guesses = [prior(choices) for choices in ranked]
        assert np.corrcoef(guesses, [SCORES[choices] for choices in ranked])[0, 1] > 0.97

    def test_every_task_keeps_its_share(self) -> None:
        task = [(choices, 0.01 * index) for index, choices in enumerate(EVERYTHING * 5)]
        prior = ArchitecturePrior(OPTIONS, [task] * 7, Kernel(1.7, 2.0, 0.1))
        assert [len(one) for one in prior.tasks] == [142] * 7
        again = prior_from(json.loads(json.dumps(prior.export_state())), OPTIONS)
        assert again.export_state() == prior.export_state()
        assert len(ArchitecturePrior(OPTIONS, [task[:10]] * 130, Kernel(1.7, 2.0, 0.1)).tasks) == 100

    def test_under_three_scores_are_nothing_to_learn_from(self) -> None:
        found = BayesianOptimization(within(30), 0)
        told(found, 2)
        with pytest.raises(InputError, match="three scores or more, but there are 2"):
            found.export_state()


@pytest.mark.parametrize("scale", [(1.0, 0.0), (0.01, 0.6)])
def test_tasks_are_told_on_one_scale(scale: tuple[float, float]) -> None:
    """Another scale of a task's scores changes nothing that is learned from it."""
    factor, offset = scale
    plain: Callable[[tuple[int, ...]], float] = SCORES.__getitem__
    first = learn_over(MetaQNN, [SamplerTask(within(60), plain)], queries=30)
    other = learn_over(
        MetaQNN, [SamplerTask(within(60), lambda choices: factor * SCORES[choices] + offset)], queries=30
    )
    for (state, values), (other_state, other_values) in zip(first["values"], other["values"], strict=True):
        assert state == other_state
        assert values == pytest.approx(other_values, abs=1e-6)
