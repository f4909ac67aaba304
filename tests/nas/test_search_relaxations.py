"""The relaxations of the DARTS family against independent truths, and short searches with each of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import RAGGED, TOY, toy_model
from scipy.stats import chisquare
from torch import Tensor

from hwnas.arch import space_instance
from hwnas.data import Dataset, Images
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.engine import search
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.start import Start
from hwnas.nas.strategies import strategies, strategy
from hwnas.nas.strategies.base import Relaxation, soft_gates
from hwnas.nas.strategies.darts import DARTS
from hwnas.nas.strategies.gdas import GDAS
from hwnas.nas.strategies.proxyless import Proxyless
from hwnas.nas.supernet import Gate, Supernet
from hwnas.progress import Silent

MODEL = toy_model()
LIMITS = AdditiveSet(latency_constraint(MODEL, 0.5 * (MODEL.smallest_ms + MODEL.largest_ms)))
RELAXATIONS = [entry.name for entry in strategies() if entry.relaxation is not None]


def noise() -> Dataset:
    rng = np.random.default_rng(0)
    sets = [Images(rng.integers(0, 256, (n, *TOY.input_shape), np.uint8), rng.integers(0, 10, n)) for n in (64, 32, 8)]
    return Dataset("noise", tuple(map(str, range(10))), *sets, (0.5,), (0.5,), flip=False)


@pytest.mark.parametrize("name", RELAXATIONS)
def test_a_search_moves_the_logits_and_ends_within_the_budget(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwnas.nas.select._passes", lambda images: 1)
    log: list[dict[str, Any]] = []
    (found,) = search(
        TOY,
        [LIMITS],
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


@pytest.mark.parametrize("count", [0, 1])
def test_candidates_of_the_start_come_first(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those within the budget, scored or not; α, which is even, would take another network."""
    monkeypatch.setattr("hwnas.nas.select._passes", lambda images: 1)
    slowest = tuple(int(np.argmax(row)) for row in MODEL.costs.table)
    kept = [each for each in itertools.product(*map(range, TOY.options)) if LIMITS.keeps(each)]
    given = max(kept, key=LIMITS.cost)
    (found,) = search(
        TOY,
        [LIMITS],
        strategy("replace"),
        noise(),
        SearchSettings(warmup_epochs=0, epochs=0, candidates=count),
        seed=0,
        device=torch.device("cpu"),
        checkpoint=tmp_path / "search.safetensors",
        progress=Silent(),
        log=lambda _: None,
        start=Start(settled=True, candidates=(slowest, given)),
    )
    assert LIMITS.decode([[0.0] * n for n in TOY.options]) != given
    first = found.evaluated[0].architecture.choices if count else found.best.architecture.choices
    assert first == given


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


def perturbed(logits: Tensor, seed: int) -> Tensor:
    """Logits plus the Gumbel noise that a generator with this seed gives: -log(-log u)."""
    uniform = torch.rand(logits.shape, generator=torch.Generator().manual_seed(seed))
    return logits.detach() - torch.log(-torch.log(uniform))


def drawn(found: Relaxation, seed: int = 0) -> None:
    """Random logits where there are options."""
    found.logits.data += torch.randn(found.logits.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(5))
def test_gdas_takes_the_largest_and_its_gradient_is_that_of_the_soft_factor(seed: int) -> None:
    """With L = Σ w_k c_k and k drawn: ∂L/∂α_i = c_k s_k (δ_ik - s_i) / τ, s the Gumbel softmax."""
    found = GDAS(RAGGED)
    drawn(found, seed)
    found.anneal(0.5)
    noisy = perturbed(found.logits, seed)
    s, temperature = torch.softmax(noisy / 5.05, 1), 5.05
    costs = torch.randn(noisy.shape, generator=torch.Generator().manual_seed(99))
    loss, expected = torch.zeros(()), torch.zeros_like(noisy)
    for d, gate in enumerate(found.arch_gates(torch.Generator().manual_seed(seed))):
        (k,) = gate.active
        assert k == int(noisy[d].argmax())
        assert gate.weights is not None
        assert float(gate.weights.detach()) == pytest.approx(1.0, abs=1e-6)
        loss = loss + gate.weights[0] * costs[d, k]
        expected[d] = costs[d, k] * s[d, k] * (torch.eye(noisy.shape[1])[k] - s[d]) / temperature
    (gradient,) = torch.autograd.grad(loss, found.logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    paths = found.weight_gates(torch.Generator().manual_seed(seed))
    assert [gate.active[0] for gate in paths] == noisy.argmax(1).tolist()


CELLS = space_instance("darts", width=0.25, resolution=8, channels=1, classes=10, depth=3)


def computed(supernet: Supernet, gates: Sequence[Gate]) -> Counter[str]:
    """How often an option of each slot with a decision is called in a pass."""
    calls: Counter[str] = Counter()
    handles = [
        option.register_forward_hook(lambda *_, name=slot.name: calls.update([name]))
        for slot in supernet.space.slots
        if slot.decision is not None
        for option in supernet.get_submodule(slot.name).children()
    ]
    supernet(torch.zeros(2, 1, 8, 8), gates)
    for handle in handles:
        handle.remove()
    return calls


@pytest.mark.parametrize(
    ("name", "weights", "alpha"), [("darts", 8, 8), ("gumbel", 1, 2), ("gdas", 1, 1), ("proxyless", 1, 2)]
)
def test_a_pass_computes_only_the_options_that_count(name: str, weights: int, alpha: int) -> None:
    maker = strategy(name).relaxation
    assert maker is not None
    found, supernet = maker(CELLS.options, torch.device("cpu")), Supernet(CELLS)
    generator = torch.Generator().manual_seed(0)
    slots = [slot for slot in CELLS.slots if slot.decision is not None]
    assert len(slots) == 14 * 3
    for gates, count in ((found.weight_gates(generator), weights), (found.arch_gates(generator), alpha)):
        assert {len(gate.active) for gate in gates} == {count}
        without_zeros = {slot.name: max(1, count - (0 in gates[slot.decision or 0].active)) for slot in slots}
        assert computed(supernet, gates) == without_zeros


def test_proxyless_draws_pairs_from_p_and_one_of_the_pair_from_p_over_the_two() -> None:
    found, generator, draws = Proxyless(RAGGED), torch.Generator().manual_seed(1), 4000
    drawn(found)
    seen: Counter[tuple[int, int]] = Counter()  # the active one and the other
    for _ in range(draws):
        gate = found.arch_gates(generator)[0]
        assert gate.weights is not None
        active = gate.active[int(gate.weights.argmax())]
        torch.testing.assert_close(gate.weights.detach().sort().values, torch.tensor([0.0, 1.0]), rtol=0, atol=1e-6)
        seen[active, sum(gate.active) - active] += 1
    p = torch.softmax(found.logits, 1)[0].tolist()
    pair = {(i, j): p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for i, j in itertools.permutations(range(3), 2)}
    expected = {(i, j): draws * pair[i, j] * p[i] / (p[i] + p[j]) for i, j in pair}
    assert chisquare([seen[one] for one in expected], list(expected.values()), sum_check=False).pvalue > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_proxyless_moves_two_logits_and_keeps_the_probability_of_the_pair(seed: int) -> None:
    found, generator = Proxyless(RAGGED), torch.Generator().manual_seed(seed)
    drawn(found, seed)
    gates = found.arch_gates(generator)
    before = found.logits.detach().clone()
    found.logits.data += torch.randn(before.shape, generator=generator)
    moved = found.logits.detach().clone()
    found.settle(found.logits.detach(), before)
    old, new = torch.softmax(before, 1), torch.softmax(found.logits.detach(), 1)
    for d, (gate, count) in enumerate(zip(gates, RAGGED, strict=True)):
        pair = list(gate.active)
        rest = [k for k in range(count) if k not in pair]
        assert torch.equal(found.logits[d, rest], before[d, rest])
        torch.testing.assert_close(new[d, rest], old[d, rest])
        if count > 1:
            difference = moved[d, pair[0]] - moved[d, pair[1]]
            torch.testing.assert_close(
                found.logits.detach()[d, pair[0]] - found.logits.detach()[d, pair[1]], difference
            )
    assert torch.equal(torch.isfinite(found.logits), torch.isfinite(before))


def test_the_mean_gradient_of_two_paths_points_along_that_of_all() -> None:
    """All: one path is drawn, every option computes, and ∂L/∂α_i = Σ_j ∂L/∂g_j · p_j (δ_ij - p_i)."""
    torch.manual_seed(0)
    supernet = Supernet(TOY).double().train()
    for part in supernet.modules():
        if isinstance(part, torch.nn.BatchNorm2d) and part.affine:
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)  # of residual branches it begins at zero
    torch.nn.init.normal_(next(p for n, p in supernet.named_parameters() if p.shape[0] == 10 and p.ndim == 2), std=0.3)
    x, y = torch.randn(16, *TOY.input_shape, dtype=torch.float64), torch.randint(10, (16,))
    found = Proxyless(TOY.options)
    drawn(found)
    found.logits.data = found.logits.data.double()
    generator = torch.Generator().manual_seed(1)

    def loss(gates: Sequence[Gate]) -> Tensor:
        return torch.nn.functional.cross_entropy(supernet(x, gates), y)

    def all_paths() -> Tensor:
        p = torch.softmax(found.logits, 1)
        active = torch.multinomial(p.detach(), 1, generator=generator)
        return loss(soft_gates(torch.zeros_like(p).scatter(1, active, 1.0) + (p - p.detach()), TOY.options))

    means = []
    for draw in (all_paths, lambda: loss(found.arch_gates(generator))):
        gradients = [torch.autograd.grad(draw(), found.logits)[0] for _ in range(120)]
        means.append(torch.stack(gradients).mean(0).flatten())
    assert float(torch.cosine_similarity(*means, dim=0)) > 0.9
