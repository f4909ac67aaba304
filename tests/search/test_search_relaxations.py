"""The relaxations of the DARTS family against independent truths, and short searches with each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import RAGGED, TOY, toy_model

from hwnas.data import Dataset, Images
from hwnas.progress import Silent
from hwnas.search.engine import search
from hwnas.search.limits import Limits, latency_limit
from hwnas.search.settings import SearchSettings
from hwnas.search.strategies import strategies, strategy
from hwnas.search.strategies.darts import DARTS

MODEL = toy_model()
LIMITS = Limits(latency_limit(MODEL, 0.5 * (MODEL.smallest_ms + MODEL.largest_ms)))
RELAXATIONS = [entry.name for entry in strategies() if entry.relaxation is not None]


def noise() -> Dataset:
    rng = np.random.default_rng(0)
    sets = [Images(rng.integers(0, 256, (n, *TOY.input_shape), np.uint8), rng.integers(0, 10, n)) for n in (64, 32, 8)]
    return Dataset("noise", tuple(map(str, range(10))), *sets, (0.5,), (0.5,), flip=False)


@pytest.mark.parametrize("name", RELAXATIONS)
def test_a_search_moves_the_logits_and_ends_within_the_budget(name: str, tmp_path: Path) -> None:
    log: list[dict[str, Any]] = []
    found = search(
        TOY,
        LIMITS,
        strategy(name),
        noise(),
        SearchSettings(warmup_epochs=1, epochs=2, batch_size=16, candidates=3),
        seed=0,
        device=torch.device("cpu"),
        checkpoint=tmp_path / "search.safetensors",
        progress=Silent(),
        log=log.append,
    )
    assert LIMITS.latency.keeps(found.best.architecture.choices)
    start, *_, end = [facts["expected_ms"] for facts in log]
    assert start != end
    assert all(np.ptp(row) > 0 for row in found.preferences)


def test_darts_weights_every_option_with_its_softmax() -> None:
    """With L = Σ p_k c_k per decision: ∂L/∂α_i = p_i (c_i - Σ p_k c_k)."""
    generator = torch.Generator().manual_seed(0)
    found = DARTS(RAGGED)
    found.logits.data += torch.randn(found.logits.shape, generator=generator)
    p, costs = torch.softmax(found.logits.detach(), 1), torch.randn(found.logits.shape, generator=generator)
    loss = torch.zeros(())
    pairs = zip(found.weight_gates(generator), found.arch_gates(generator), strict=True)
    for d, (fixed, gate) in enumerate(pairs):
        assert fixed.active == gate.active == tuple(range(RAGGED[d]))
        assert fixed.weights is not None
        assert gate.weights is not None
        torch.testing.assert_close(fixed.weights, p[d, : RAGGED[d]])
        torch.testing.assert_close(gate.weights.detach(), p[d, : RAGGED[d]])
        loss = loss + (gate.weights * costs[d, : RAGGED[d]]).sum()
    (gradient,) = torch.autograd.grad(loss, found.logits)
    torch.testing.assert_close(gradient, p * (costs - (p * costs).sum(1, keepdim=True)), rtol=1e-4, atol=1e-6)
