"""The second order of DARTS against exact differentiation through the step, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from problems import TOY
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from hwnas.errors import InputError
from hwnas.nas.bilevel import Bilevel
from hwnas.nas.strategies.darts import DARTS
from hwnas.nas.strategies.darts2 import SecondOrderDARTS
from hwnas.nas.supernet import Gate, Supernet
from hwnas.nas.virtual import virtual_step
from hwnas.train import mixed_precision

OPTIONS = [3, 3]
GENERATOR = torch.Generator()  # nothing is drawn


def sgd(weights: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(weights, lr=0.3, momentum=0.9, weight_decay=0.02)


def adamw(weights: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=0.02, weight_decay=0.1)


class Smooth(nn.Module):
    """Two decisions between three layers each, without the kinks of a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList(nn.Linear(6, 6) for _ in range(count)) for count in OPTIONS)
        self.classifier = nn.Linear(6, 4)

    def forward(self, x: Tensor, gates: Sequence[Gate]) -> Tensor:
        for options, gate in zip(self.layers, gates, strict=True):
            assert gate.weights is not None
            x = sum(w * layer(x).tanh() for w, layer in zip(gate.weights, options, strict=True))  # type: ignore[arg-type]
        return self.classifier(x)  # type: ignore[no-any-return]


def toy() -> nn.Module:
    supernet = Supernet(TOY)
    for part in supernet.modules():
        if isinstance(part, nn.BatchNorm2d) and part.affine:
            nn.init.uniform_(part.weight, 0.5, 1.5)  # of residual branches it begins at zero
    return supernet


def problem(make: object, steps: int = 3, net: object = Smooth) -> tuple[Bilevel, SecondOrderDARTS]:
    """After a few steps, so that the optimiser has momentum; with logits that prefer something."""
    torch.manual_seed(0)
    supernet = net().double().train()  # type: ignore[operator]
    shape, classes, options = ((6,), 4, OPTIONS) if net is Smooth else (TOY.input_shape, TOY.classes, TOY.options)
    found = SecondOrderDARTS(options)
    found.logits = torch.randn(found.logits.shape, dtype=torch.float64).requires_grad_()
    optimizer = make(list(supernet.parameters()))  # type: ignore[operator]
    batches = [(torch.randn(12, *shape, dtype=torch.float64), torch.randint(classes, (12,))) for _ in range(2)]
    bilevel = Bilevel(supernet, optimizer, batches[0], batches[1], cross_entropy, cross_entropy)
    for _ in range(steps):
        optimizer.zero_grad()
        bilevel.train(found.weight_gates(GENERATOR)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return bilevel, found


def stepped(bilevel: Bilevel, w: Tensor, g: Tensor) -> Tensor:
    """w' as the optimisers' definitions say, with a graph through g; of AdamW but through the denominator."""
    state, group = bilevel.optimizer.state[w], bilevel.optimizer.param_groups[0]
    if isinstance(bilevel.optimizer, torch.optim.SGD):
        return w - 0.3 * (0.9 * state["momentum_buffer"] + g + 0.02 * w)
    (b1, b2), t = group["betas"], float(state["step"]) + 1
    m = (b1 * state["exp_avg"] + (1 - b1) * g) / (1 - b1**t)
    v = (b2 * state["exp_avg_sq"] + (1 - b2) * g.detach() ** 2) / (1 - b2**t)
    return w - 0.02 * (m / (v.sqrt() + group["eps"]) + 0.1 * w)


def exact(bilevel: Bilevel, found: SecondOrderDARTS) -> Tensor:
    weights = dict(bilevel.supernet.named_parameters())
    train = bilevel.train(found.arch_gates(GENERATOR))
    gradients = torch.autograd.grad(train, list(weights.values()), create_graph=True)
    moved = {name: stepped(bilevel, w, g) for (name, w), g in zip(weights.items(), gradients, strict=True)}
    x, y = bilevel.val_batch
    loss = cross_entropy(functional_call(bilevel.supernet, moved, (x, found.arch_gates(GENERATOR))), y)
    return torch.autograd.grad(loss, found.logits)[0]


@pytest.mark.parametrize("make", [sgd, adamw])
def test_the_gradient_is_that_through_the_step(make: object) -> None:
    bilevel, found = problem(make)
    before = {name: value.clone() for name, value in bilevel.supernet.named_parameters()}
    truth, gradient = exact(bilevel, found), found.gradient(bilevel, GENERATOR)
    first = DARTS.gradient(found, bilevel, GENERATOR)
    error = float((gradient - truth).norm() / truth.norm())
    assert error <= 1e-3
    assert float((first - truth).norm() / truth.norm()) > 20 * error, "the second order is needed for it"
    after = dict(bilevel.supernet.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_it_is_exact_in_a_supernet_but_for_the_length_of_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinks of ReLUs make a long difference inexact; of a short one the gradient is that through the step."""
    monkeypatch.setattr("hwnas.nas.strategies.darts2._RADIUS", 1e-6)
    bilevel, found = problem(sgd, net=toy)
    truth, gradient = exact(bilevel, found), found.gradient(bilevel, GENERATOR)
    assert float((gradient - truth).norm() / truth.norm()) <= 1e-6


def test_without_a_step_it_is_first_order() -> None:
    bilevel, found = problem(sgd)
    bilevel.optimizer.param_groups[0]["lr"] = 0.0
    first = DARTS.gradient(found, bilevel, GENERATOR)
    torch.testing.assert_close(found.gradient(bilevel, GENERATOR), first, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("make", [sgd, adamw])
def test_the_virtual_step_is_the_one_that_the_optimiser_takes(make: object, steps: int) -> None:
    bilevel, found = problem(make, steps)
    weights = dict(bilevel.supernet.named_parameters())
    bilevel.optimizer.zero_grad()
    bilevel.train(found.weight_gates(GENERATOR)).backward()  # type: ignore[no-untyped-call]
    gradients: Mapping[str, Tensor] = {name: w.grad for name, w in weights.items() if w.grad is not None}
    moved, _ = virtual_step(bilevel.optimizer, weights, gradients)
    bilevel.optimizer.step()
    for name, w in weights.items():
        torch.testing.assert_close(moved[name], w, rtol=1e-9, atol=1e-12)


def test_running_statistics_are_those_of_the_shared_weights() -> None:
    bilevel, found = problem(sgd, 0, toy)
    bilevel.val(found.arch_gates(GENERATOR))
    before = {name: value.clone() for name, value in bilevel.supernet.named_buffers()}
    bilevel.val(found.arch_gates(GENERATOR), {name: 2 * w for name, w in bilevel.supernet.named_parameters()})
    after = dict(bilevel.supernet.named_buffers())
    assert before
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_an_optimiser_whose_step_is_not_known_is_refused() -> None:
    bilevel, found = problem(lambda weights: torch.optim.RMSprop(weights))
    with pytest.raises(InputError, match="a virtual step must be one of AdamW or of SGD"):
        found.gradient(bilevel, GENERATOR)


def test_differences_are_taken_in_full_precision() -> None:
    bilevel, found = problem(sgd, steps=0)
    bilevel.supernet.float()
    found.logits = found.logits.detach().float().requires_grad_()
    batches = [(x.float(), y) for x, y in (bilevel.train_batch, bilevel.val_batch)]
    bilevel = replace(bilevel, train_batch=batches[0], val_batch=batches[1])
    expected = found.gradient(bilevel, GENERATOR)
    with mixed_precision(torch.device("cpu"), on=True):
        assert torch.equal(found.gradient(bilevel, GENERATOR), expected)
