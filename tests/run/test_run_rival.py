"""The random network beside the winner: as slow as it is, by brute force over a small space."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from run_fakes import SPACE, latencies

from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import latency_constraint
from hwnas.run import rival as rivals
from hwnas.run.rival import NEAR, matched, rival_of

MODEL = latencies()
ALL = list(itertools.product(*(range(len(decision.options)) for decision in SPACE.decisions)))
BY_LATENCY = sorted(ALL, key=MODEL.predict_ms)


def within(winner: tuple[int, ...]) -> AdditiveSet:
    return AdditiveSet(latency_constraint(MODEL, MODEL.predict_ms(winner)))


@pytest.mark.parametrize("winner", BY_LATENCY[1::9])
def test_the_rival_is_no_slower_and_as_near_as_there_is_one(winner: tuple[int, ...]) -> None:
    found = matched(within(winner), winner, np.random.default_rng(0))
    assert found != winner
    assert found == matched(within(winner), winner, np.random.default_rng(0))
    own_ms = MODEL.predict_ms(winner)
    others = [MODEL.predict_ms(one) for one in ALL if one != winner and MODEL.predict_ms(one) <= own_ms]
    assert MODEL.predict_ms(found) <= own_ms * (1 + 1e-9)
    assert MODEL.predict_ms(found) >= min(max(others), (1 - NEAR) * own_ms) * (1 - 1e-9)  # 300 draws see all 81


def test_where_slow_networks_are_rare_a_rival_is_made_slower_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "DRAWS", 1)
    winner = BY_LATENCY[-1]
    drawn = within(winner).sample(np.random.default_rng(1))
    found = matched(within(winner), winner, np.random.default_rng(1))
    assert MODEL.predict_ms(drawn) < (1 - NEAR) * MODEL.predict_ms(winner)
    assert MODEL.predict_ms(found) > MODEL.predict_ms(drawn)


def test_several_seeds_give_several_rivals() -> None:
    winner = BY_LATENCY[-20]
    one = SimpleNamespace(
        cost=lambda choices: 1.0, sample=within(winner).sample, neighbours=lambda choices: iter(())
    )  # all are equally slow
    found = {matched(one, winner, np.random.default_rng(seed)) for seed in range(8)}  # type: ignore[arg-type]
    assert len(found) > 2


def test_a_rival_that_is_far_off_is_told() -> None:
    said: list[str] = []
    fastest, next_one = BY_LATENCY[:2]

    def run_for(winner: tuple[int, ...]) -> Any:
        return SimpleNamespace(
            model=MODEL,
            budget_ms=100.0,
            plan=SimpleNamespace(config=SimpleNamespace(compute=SimpleNamespace(seed=0))),
            feasible_set=lambda target_ms: AdditiveSet(latency_constraint(MODEL, target_ms)),
            progress=SimpleNamespace(say=said.append),
        )

    faster = 1 - MODEL.predict_ms(fastest) / MODEL.predict_ms(next_one)
    found = rival_of(run_for(next_one), next_one)
    assert (found.choices, found.faster) == (fastest, pytest.approx(faster))
    assert found.near == (faster <= NEAR) == (not said)
    assert rival_of(run_for(fastest), fastest).choices == fastest  # there is nothing else
