from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from problems import RAGGED
from scipy.stats import chisquare
from torch import Tensor

from hwnas.nas.strategies.base import log_probabilities, uniform_logits
from hwnas.nas.strategies.gumbel import Gumbel


def relaxation(hard: bool, seed: int = 0) -> Gumbel:
    """With random logits over ragged options."""
    gumbel = Gumbel(RAGGED, hard=hard)
    noise = torch.randn(gumbel.logits.shape, generator=torch.Generator().manual_seed(seed))
    gumbel.logits.data += noise
    return gumbel


def perturbed(gumbel: Gumbel, seed: int) -> Tensor:
    """Logits plus the Gumbel noise that a generator with this seed gives: -log(-log u)."""
    uniform = torch.rand(gumbel.logits.shape, generator=torch.Generator().manual_seed(seed))
    return gumbel.logits.detach() - torch.log(-torch.log(uniform))


def test_hard_weight_steps_draw_from_the_softmax() -> None:
    gumbel, generator, draws = relaxation(hard=True), torch.Generator().manual_seed(1), 4000
    counts = [Counter[int]() for _ in RAGGED]
    for _ in range(draws):
        for counter, gate in zip(counts, gumbel.weight_gates(generator), strict=True):
            assert gate.weights is None
            counter[gate.active[0]] += 1
    for counter, row, count in zip(counts, torch.softmax(gumbel.logits, 1).tolist(), RAGGED, strict=True):
        assert set(counter) <= set(range(count))
        if count > 1:
            observed, expected = [counter[k] for k in range(count)], [draws * p for p in row[:count]]
            assert chisquare(observed, expected, sum_check=False).pvalue > 1e-3


def test_hard_arch_steps_draw_pairs_without_replacement() -> None:
    gumbel, generator, draws = relaxation(hard=True), torch.Generator().manual_seed(2), 4000
    pairs = Counter(gumbel.arch_gates(generator)[0].active for _ in range(draws))
    p = torch.softmax(gumbel.logits, 1)[0].tolist()
    expected = {(i, j): draws * p[i] * p[j] / (1 - p[i]) for i, j in itertools.permutations(range(RAGGED[0]), 2)}
    assert set(pairs) <= set(expected)
    assert chisquare([pairs[pair] for pair in expected], list(expected.values()), sum_check=False).pvalue > 1e-3


@pytest.mark.parametrize("temperature_at", [0.0, 0.5, 1.0])
def test_soft_weights_are_the_softmax_of_the_perturbed_logits(temperature_at: float) -> None:
    gumbel = relaxation(hard=False)
    gumbel.anneal(temperature_at)
    temperature = 5.0 * (0.5 / 5.0) ** temperature_at
    expected = torch.softmax(perturbed(gumbel, 3) / temperature, dim=1)
    for gates in (gumbel.weight_gates, gumbel.arch_gates):
        for gate, row, count in zip(gates(torch.Generator().manual_seed(3)), expected, RAGGED, strict=True):
            assert gate.active == tuple(range(count))
            assert gate.weights is not None
            assert float(gate.weights.detach().sum()) == pytest.approx(1.0, abs=1e-6)
            torch.testing.assert_close(gate.weights.detach(), row[:count])


@pytest.mark.parametrize("seed", range(5))
def test_hard_arch_gates_compute_the_first_and_compare_it_with_its_rival(seed: int) -> None:
    """With L = Σ w_k c_k over the pair (i, j): ∂L/∂α_i = s_i s_j (c_i - c_j) / τ = -∂L/∂α_j, zero elsewhere."""
    gumbel = relaxation(hard=True, seed=seed)
    gumbel.anneal(0.4)
    temperature = 5.0 * 0.1**0.4
    noisy = perturbed(gumbel, seed)
    costs = torch.randn(len(RAGGED), max(RAGGED), generator=torch.Generator().manual_seed(99))
    expected = torch.zeros_like(noisy)
    loss = torch.zeros(())
    gates = gumbel.arch_gates(torch.Generator().manual_seed(seed))
    for d, (gate, count) in enumerate(zip(gates, RAGGED, strict=True)):
        order = noisy[d].argsort(descending=True).tolist()[: min(2, count)]
        assert list(gate.active) == order
        assert gate.weights is not None
        torch.testing.assert_close(gate.weights.detach(), torch.eye(2)[0, : len(order)], rtol=0, atol=1e-6)
        loss = loss + (gate.weights * costs[d, list(gate.active)]).sum()
        if count > 1:
            i, j = order
            s = torch.softmax(noisy[d, [i, j]] / temperature, dim=0)
            expected[d, i] = s[0] * s[1] * (costs[d, i] - costs[d, j]) / temperature
            expected[d, j] = -expected[d, i]
    (gradient,) = torch.autograd.grad(loss, gumbel.logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)


def test_uniform_logits_prefer_nothing_and_log_probabilities_leave_out_what_is_absent() -> None:
    rows = log_probabilities(uniform_logits(RAGGED))
    assert [len(row) for row in rows] == RAGGED
    for row, count in zip(rows, RAGGED, strict=True):
        assert row == pytest.approx([-float(torch.log(torch.tensor(count)))] * count)
