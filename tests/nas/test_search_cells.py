"""A whole search in a space with groups: all that it scores and finds keeps to them and to the limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwnas.arch import space_instance
from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.data import Dataset, Images
from hwnas.latency.calibrate import spread_architectures
from hwnas.latency.space_latency import latency_model
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import Constraint, latency_constraint
from hwnas.nas.engine import search
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategy
from hwnas.nas.supernet import Gate, Supernet
from hwnas.progress import Silent
from hwnas.run.instance import extreme

SPACE = space_instance("darts", width=0.25, depth=3, resolution=8, channels=1, classes=3)
MODEL = latency_model(SPACE, lambda spec: 1.0 + len(spec.graph.nodes) + spec.kernel / 7)


def noise() -> Dataset:
    rng = np.random.default_rng(0)
    sets = [Images(rng.integers(0, 256, (n, 1, 8, 8), np.uint8), rng.integers(0, 3, n)) for n in (64, 24, 8)]
    return Dataset("noise", ("a", "b", "c"), *sets, (0.5,), (0.5,), flip=False)


@pytest.mark.parametrize(("name", "limited"), [("gumbel", False), ("random", True)])
def test_a_search_keeps_to_groups_and_limits(
    name: str, limited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwnas.nas.select._passes", lambda images: 1)
    monkeypatch.setattr("hwnas.nas.comparison._NEIGHBOURHOODS", 1)
    low, high = MODEL.smallest_ms, MODEL.largest_ms
    size = Constraint("kb", AdditiveCosts(MODEL.costs_ms, SPACE.groups), 0.7 * sum(map(max, MODEL.costs_ms)), 1.0)
    limits = AdditiveSet(latency_constraint(MODEL, low + 0.5 * (high - low)), size if limited else None)
    log: list[dict[str, Any]] = []
    (found,) = search(
        SPACE,
        [limits],
        strategy(name),
        noise(),
        SearchSettings(warmup_epochs=1, epochs=1, batch_size=32, candidates=3),
        seed=0,
        device=torch.device("cpu"),
        checkpoint=tmp_path / "search.safetensors",
        progress=Silent(),
        log=log.append,
    )
    assert len(found.evaluated) >= 3
    for one in (found.best, *found.evaluated):
        assert SPACE.architecture(one.architecture.choices) == one.architecture
    assert all(limit.keeps(found.best.architecture.choices) for limit in limits.constraints)
    assert SPACE.architecture(found.unbudgeted).choices == found.unbudgeted
    expected = [facts["expected_ms"] for facts in log if "expected_ms" in facts]
    assert all(low <= value <= high for value in expected)
    assert bool(expected) == (name != "random")


@pytest.mark.parametrize("name", ["gumbel", "darts", "random", "enas"])
def test_nasbench201_warms_up_on_mixtures_and_then_does_as_the_strategy_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Gate]] = []
    forward = Supernet.forward

    def spy(self: Supernet, x: torch.Tensor, gates: Sequence[Gate]) -> torch.Tensor:
        seen.append(list(gates))
        return forward(self, x, gates)

    monkeypatch.setattr(Supernet, "forward", spy)
    space = space_instance("nasbench201", width=0.5, depth=1, resolution=8, channels=1, classes=3)
    model = latency_model(space, lambda spec: 1.0 + len(spec.graph.nodes))
    limits = AdditiveSet(latency_constraint(model, 0.5 * (model.smallest_ms + model.largest_ms)))
    settings = SearchSettings(warmup_epochs=1, epochs=1, batch_size=16, arch_every=100)
    loop = make_loop(space, [limits], strategy(name), noise(), settings, seed=0, device=torch.device("cpu"))
    list(loop.epoch(0))
    assert len(seen) == 4
    mixed = [gate for gates in seen for gate in gates]
    assert all(gate.active == (0, 1, 2, 3, 4) for gate in mixed)
    weights = torch.stack([gate.weights for gate in mixed if gate.weights is not None])
    assert weights.shape == (24, 5)
    assert torch.allclose(weights.sum(1), torch.ones(24))
    assert len(weights.argmax(1).unique()) > 2, "noise prefers one here and another there"
    seen.clear()
    list(loop.epoch(1))
    assert {len(gate.active) for gate in seen[-1]} == ({5} if name == "darts" else {1})


def test_networks_that_calibrate_a_table_keep_to_the_groups_and_spread() -> None:
    drawn = spread_architectures(SPACE, 20, seed=0)
    for architecture in drawn:
        assert SPACE.architecture(architecture.choices) == architecture
    sums = [MODEL.predict_ms(architecture.choices) for architecture in drawn]
    assert np.mean(sums[:5]) < np.mean(sums[-5:])


def test_the_smallest_network_takes_the_skips_and_the_largest_the_widest_convolutions() -> None:
    kinds = [
        {spec.kind for name, spec in extreme(SPACE, pick).ops if name.startswith("c0e") and spec.kind != "none"}
        for pick in (min, max)
    ]
    assert kinds == [{"skip"}, {"sepconv"}]
