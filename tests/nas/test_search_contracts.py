"""What every strategy must do, whatever it is: a new one is tested by being registered."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from problems import OPTIONS, RAGGED, all_choices, total, toy_model
from torch import Tensor

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.errors import InputError
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import Constraint
from hwnas.nas.decode import decode
from hwnas.nas.objective import BudgetPenalty, ExpectedLatency, padded
from hwnas.nas.strategies import Strategy, strategies, strategy
from hwnas.nas.strategies.base import Relaxation, Sampler, log_probabilities
from hwnas.nas.supernet import Gate

RELAXATIONS = [entry.name for entry in strategies() if entry.relaxation is not None]
CERTAIN = {"darts", "darts2", "single_level"}  # draw nothing: every option counts with its softmax
SAMPLERS = [entry.name for entry in strategies() if entry.sampler is not None]
MODEL = toy_model()
OPTIONS_TABLE = [[0.0] * count for count in OPTIONS]


def relaxation(name: str, options: list[int]) -> Relaxation:
    maker = strategy(name).relaxation
    assert maker is not None
    return maker(options, torch.device("cpu"))


def sampler(name: str, budget: float, seed: int) -> Sampler:
    maker = strategy(name).sampler
    assert maker is not None
    return maker(AdditiveSet(Constraint("ms", AdditiveCosts(MODEL.costs_ms), budget, budget)), seed)


def planted(options: list[int], seed: int) -> tuple[tuple[int, ...], Tensor]:
    """The best option per decision, and losses per option that are 0 for it and 0.3 to 1 for the others."""
    rng = np.random.default_rng(seed)
    choices = tuple(int(rng.integers(count)) for count in options)
    rows = [
        [0.0 if k == best else rng.uniform(0.3, 1.0) for k in range(n)]
        for best, n in zip(choices, options, strict=True)
    ]
    return choices, padded(rows).float()


def loss_of(gates: list[Gate], losses: Tensor) -> Tensor:
    """The fake loss of a forward pass: linear in the gates' weights."""
    loss = torch.zeros(())
    for gate, row in zip(gates, losses, strict=True):
        active = row[list(gate.active)]
        loss = loss + (active.sum() if gate.weights is None else (gate.weights * active).sum())
    return loss


def optimise(
    found: Relaxation, losses: Tensor, steps: int, seed: int, penalty: BudgetPenalty | None = None
) -> list[float]:
    """Adam on α as the search does it; with a penalty, the expected latency after every epoch of 20 steps."""
    expected = ExpectedLatency(MODEL)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([found.logits], lr=0.05, betas=(0.5, 0.999))
    history = []
    for step in range(steps):
        found.anneal(step / steps)
        loss = loss_of(found.arch_gates(generator), losses)
        if penalty is not None:
            loss = loss + penalty(expected(torch.softmax(found.logits, 1)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        before = found.logits.detach().clone()
        optimizer.step()
        found.settle(found.logits.detach(), before)
        if penalty is not None and step % 20 == 19:
            history.append(float(expected(torch.softmax(found.logits.detach(), 1))))
            penalty.update(history[-1])
    return history


def same(left: list[Gate], right: list[Gate]) -> bool:
    return all(
        a.active == b.active
        and (a.weights is None) == (b.weights is None)
        and (a.weights is None or b.weights is None or torch.equal(a.weights, b.weights))
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("options", [OPTIONS, RAGGED], ids=["toy", "ragged"])
@pytest.mark.parametrize("name", RELAXATIONS)
class TestRelaxation:
    def test_logits_are_a_leaf_that_prefers_nothing(self, name: str, options: list[int]) -> None:
        logits = relaxation(name, options).logits
        assert logits.is_leaf
        assert logits.requires_grad
        assert logits.shape == (len(options), max(options))
        for row, count in zip(logits.tolist(), options, strict=True):
            assert row == [0.0] * count + [-np.inf] * (max(options) - count)

    def test_gates_are_valid(self, name: str, options: list[int]) -> None:
        found, generator = relaxation(name, options), torch.Generator().manual_seed(0)
        for progress in (0.0, 0.5, 1.0):
            found.anneal(progress)
            for gates in (found.weight_gates(generator), found.arch_gates(generator)):
                for gate, count in zip(gates, options, strict=True):
                    assert gate.active
                    assert len(set(gate.active)) == len(gate.active)
                    assert set(gate.active) <= set(range(count))
                    if gate.weights is None:
                        assert len(gate.active) == 1
                    else:
                        assert gate.weights.shape == (len(gate.active),)
                        assert gate.weights.isfinite().all()

    def test_weight_steps_do_not_reach_the_logits_and_arch_steps_do(self, name: str, options: list[int]) -> None:
        found, generator = relaxation(name, options), torch.Generator().manual_seed(0)
        assert not any(g.weights is not None and g.weights.requires_grad for g in found.weight_gates(generator))
        _, losses = planted(options, 0)
        (gradient,) = torch.autograd.grad(loss_of(found.arch_gates(generator), losses), found.logits)
        assert gradient.abs().sum() > 0
        assert not gradient[found.logits == -torch.inf].any()

    def test_the_same_seed_gives_the_same_gates(self, name: str, options: list[int]) -> None:
        a, b = relaxation(name, options), relaxation(name, options)
        left, right = (torch.Generator().manual_seed(5) for _ in range(2))
        for _ in range(3):
            assert same(a.weight_gates(left), b.weight_gates(right))
            assert same(a.arch_gates(left), b.arch_gates(right))
        drawn = [a.arch_gates(left) for _ in range(20)]
        assert all(same(drawn[0], gates) for gates in drawn) == (name in CERTAIN)

    def test_its_state_is_its_logits_and_its_progress(self, name: str, options: list[int]) -> None:
        a, b = relaxation(name, options), relaxation(name, options)
        _, losses = planted(options, 1)
        optimise(a, losses, 30, seed=0)
        b.logits.data.copy_(a.logits.data)
        for found in (a, b):
            found.anneal(0.7)
        assert same(
            a.arch_gates(torch.Generator().manual_seed(1)),
            b.arch_gates(torch.Generator().manual_seed(1)),
        )

    @pytest.mark.sample("name")
    @pytest.mark.parametrize("seed", range(3))
    def test_it_finds_the_planted_best(self, name: str, options: list[int], seed: int) -> None:
        best, losses = planted(options, seed)
        found = relaxation(name, options)
        absent = found.logits.detach() == -torch.inf
        optimise(found, losses, 400, seed)
        assert tuple(found.logits.argmax(1).tolist()) == best
        assert torch.equal(found.logits.detach() == -torch.inf, absent)
        assert found.logits[~absent].isfinite().all()


@pytest.mark.sample("name")
@pytest.mark.parametrize("name", RELAXATIONS)
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_relaxation_is_held_to_the_budget(name: str, share: float) -> None:
    """The planted losses prefer what is slow; the expected latency still ends at the budget."""
    low, high = MODEL.smallest_ms, MODEL.largest_ms
    budget = low + share * (high - low)
    losses = padded([[0.02 * (max(row) - cost) for cost in row] for row in MODEL.costs_ms]).float()
    free, held = relaxation(name, OPTIONS), relaxation(name, OPTIONS)
    optimise(free, losses, 400, seed=0)
    history = optimise(held, losses, 400, seed=0, penalty=BudgetPenalty(budget))
    assert float(ExpectedLatency(MODEL)(torch.softmax(free.logits.detach(), 1))) > budget
    assert np.mean(history[-10:]) == pytest.approx(budget, rel=0.03)
    choices = decode(log_probabilities(held.logits), MODEL.costs_ms, MODEL.raw_budget_ms(budget))
    assert choices is not None
    assert MODEL.predict_ms(choices) <= budget


_, LOSSES = planted(OPTIONS, 0)
SCORES = {choices: 1.0 - 0.25 * total(LOSSES.tolist(), choices) for choices in all_choices(OPTIONS_TABLE)}


def told(found: Sampler, count: int) -> list[tuple[int, ...]]:
    """What a sampler asks for, told the planted scores."""
    asked = []
    for _ in range(count):
        asked.append(found.ask())
        found.tell(asked[-1], SCORES[asked[-1]])
    return asked


@pytest.mark.parametrize("name", SAMPLERS)
class TestSampler:
    @pytest.mark.sample("name")
    @pytest.mark.parametrize("rank", [0, 3, 40, 80])
    def test_it_finds_the_planted_best_within_the_budget_and_asks_for_nothing_beyond(
        self, name: str, rank: int
    ) -> None:
        budget = sorted(total(MODEL.costs_ms, choices) for choices in SCORES)[rank] + 1e-6
        best = max((c for c in SCORES if total(MODEL.costs_ms, c) <= budget), key=SCORES.__getitem__)
        asked = told(sampler(name, budget, seed=0), 250)
        assert all(total(MODEL.costs_ms, choices) <= budget for choices in asked)
        assert best in asked

    def test_it_learns(self, name: str) -> None:
        """What it asks for in the end is better than chance, by far; random alone stays where it is."""
        later = np.mean([[SCORES[choices] for choices in told(sampler(name, 1e9, seed), 90)[60:]] for seed in range(4)])
        chance, deviation = np.mean(list(SCORES.values())), np.std(list(SCORES.values()))
        gain = (later - chance) / deviation
        assert abs(gain) < 0.3 if name == "random" else gain > 0.5

    def test_the_same_seed_asks_the_same(self, name: str) -> None:
        first, again, other = (told(sampler(name, MODEL.largest_ms, seed), 20) for seed in (1, 1, 2))
        assert first == again
        assert first != other

    @pytest.mark.parametrize("after", [0, 7, 40])
    def test_it_goes_on_from_a_state_that_went_through_json(self, name: str, after: int) -> None:
        found, other = (sampler(name, MODEL.largest_ms, seed) for seed in (3, 4))
        told(found, after)
        told(other, 5)  # which restoring must forget
        text = json.dumps(found.state(), allow_nan=False)
        other.restore(json.loads(text))
        assert json.dumps(other.state()) == text
        assert told(other, 30) == told(found, 30)
        assert json.dumps(other.state()) == json.dumps(found.state())

    def test_it_learns_of_architectures_that_it_did_not_ask_for(self, name: str) -> None:
        found = sampler(name, MODEL.largest_ms, seed=0)
        for choices in SCORES:
            found.tell(choices, SCORES[choices])
        assert found.ask() in SCORES


def test_an_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown search strategy") as caught:
        strategy("magic")
    assert all(entry.name in caught.value.hint for entry in strategies())


def test_every_strategy_is_of_one_sort() -> None:
    for entry in strategies():
        assert (entry.relaxation is None) != (entry.sampler is None)
        assert strategy(entry.name) is entry
        assert entry.summary
        assert entry.cost


def test_a_strategy_must_be_of_one_sort() -> None:
    with pytest.raises(InputError, match="a relaxation or a sampler"):
        Strategy("neither", "")
    with pytest.raises(InputError, match="must have a sampler"):
        Strategy("blind", "", relaxation=strategy("gumbel").relaxation, guides=True)
