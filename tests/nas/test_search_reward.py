"""TuNAS's absolute reward: by hand, on the toy space against enumeration, and with a feasible answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from problems import OPTIONS, TOY, all_choices, row_ms, toy_model

from hwnas.arch import Architecture, space_instance
from hwnas.latency.space_latency import latency_model
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.engine import search
from hwnas.nas.feasible_set import feasible_set
from hwnas.nas.make_loop import make_samplers
from hwnas.nas.reward import BETA, REWARDS, absolute_reward
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.select import Scored
from hwnas.nas.strategies import strategies, strategy
from hwnas.progress import Silent

MODEL = toy_model()
EVERY_MS = sorted(MODEL.predict_ms(choices) for choices in all_choices(MODEL.costs_ms))
SAMPLERS = [entry.name for entry in strategies() if entry.sampler is not None]


def test_the_reward_by_hand() -> None:
    assert absolute_reward(0.9, 12.0, 10.0, beta=-0.5) == pytest.approx(0.8)
    assert absolute_reward(0.9, 8.0, 10.0, beta=-0.5) == pytest.approx(0.8)
    assert absolute_reward(0.9, 10.0, 10.0) == 0.9
    assert BETA < 0


@pytest.mark.parametrize(("name", "share"), [("enas", 0.3), ("metaqnn", 0.3), ("metaqnn", 0.6)])
def test_where_all_are_equally_accurate_a_sampler_that_learns_lands_on_the_budget(name: str, share: float) -> None:
    """It comes from both sides, and ends nearer to the target than draws from the whole space are."""
    target_ms = float(np.quantile(EVERY_MS, share))
    (sampler,) = make_samplers(strategy(name), [feasible_set(latency_constraint(MODEL, target_ms))], "absolute", 0)
    ratios = np.zeros(150)
    for step in range(len(ratios)):
        choices = sampler.ask()
        sampler.tell(choices, 0.5)
        ratios[step] = MODEL.predict_ms(choices) / target_ms
    assert ratios.min() < 1.0 < ratios.max()
    late = ratios[-30:]
    assert abs(late.mean() - 1.0) < 0.12
    assert np.abs(late - 1.0).mean() < 0.7 * np.abs(np.array(EVERY_MS) / target_ms - 1.0).mean()


@pytest.mark.parametrize("name", SAMPLERS)
def test_with_the_hard_filter_nothing_else_is_proposed(name: str) -> None:
    limits = feasible_set(latency_constraint(MODEL, float(np.quantile(EVERY_MS, 0.3))))
    (sampler,) = make_samplers(strategy(name), [limits], "filter", 0)
    for _ in range(30):
        choices = sampler.ask()
        assert limits.latency.keeps(choices)
        sampler.tell(choices, 0.5)


def test_chains_may_leave_the_budget_too() -> None:
    space = space_instance("chain", width=0.05, depth=3, resolution=4, channels=1, classes=2)
    model = latency_model(space, row_ms)
    limits = feasible_set(latency_constraint(model, 1.2 * model.smallest_ms))
    samplers = [make_samplers(strategy("metaqnn"), [limits], reward, 0)[0] for reward in REWARDS]
    for one, filtered in zip(samplers, (True, False), strict=True):
        kept = []
        for _ in range(20):
            choices = one.ask()
            assert space.architecture(choices).choices == choices
            kept.append(limits.latency.keeps(choices))
            one.tell(choices, 0.5)
        assert all(kept) is filtered


class Planted:
    """Scores that grow with the latency, so that without a budget the slowest would win."""

    at_once = 4

    def __init__(self) -> None:
        self.scored: list[tuple[int, ...]] = []

    def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
        for choices in batch:
            self.scored.append(choices)
            accuracy = 0.5 + 0.4 * (MODEL.predict_ms(choices) - EVERY_MS[0]) / (EVERY_MS[-1] - EVERY_MS[0])
            yield Scored(Architecture(TOY.name, choices), accuracy, accuracy, np.full(8, 1.0 - accuracy))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("rank", [0, 20])
def test_the_answer_is_feasible_whatever_was_proposed(name: str, rank: int, tmp_path: Path) -> None:
    """Of rank 0 only the fastest network of all is, which hardly any sampler proposes by itself."""
    limits, evaluator = feasible_set(latency_constraint(MODEL, EVERY_MS[rank] * (1 + 1e-9))), Planted()
    (found,) = search(
        TOY,
        [limits],
        strategy(name),
        SimpleNamespace(val=range(100), classes=("a", "b")),  # type: ignore[arg-type]  # the evaluator needs no images
        SearchSettings(warmup_epochs=0, epochs=0, candidates=12),
        seed=0,
        device=torch.device("cpu"),
        checkpoint=tmp_path / "none",
        progress=Silent(),
        log=lambda _: None,
        evaluator=evaluator,
        reward="absolute",
    )
    inside = [choices for choices in evaluator.scored if limits.latency.keeps(choices)]
    assert len(inside) < len(evaluator.scored), "it may propose what is too slow"
    assert found.best.architecture.choices == max(inside, key=MODEL.predict_ms)
    assert MODEL.predict_ms(found.unbudgeted) > limits.latency.target, "the budget binds"
    assert len(OPTIONS) == len(found.preferences)
