"""One objective for weights and architecture: what its steps are, against a step written out here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import TOY, toy_model
from torch import Tensor
from torch.nn.functional import cross_entropy

from hwnas.data import Dataset, Images
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.bilevel import Bilevel
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategy
from hwnas.nas.strategies.base import soft_gates
from hwnas.nas.strategies.single_level import SingleLevel
from hwnas.nas.strategies.snas import SNAS
from hwnas.nas.supernet import Supernet

CPU = torch.device("cpu")


@pytest.mark.parametrize("val_weight", [0.0, 0.5, 1.0])
def test_its_loss_is_the_weighted_mean_of_both(val_weight: float) -> None:
    torch.manual_seed(0)
    found, supernet, generator = SingleLevel(TOY.options, CPU, val_weight), Supernet(TOY), torch.Generator()
    train, val = ((torch.randn(8, *TOY.input_shape), torch.randint(10, (8,))) for _ in range(2))
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1)
    problem = Bilevel(supernet, optimizer, train, val, cross_entropy, cross_entropy)

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(supernet(batch[0], found.arch_gates(generator)), batch[1])

    expected = (loss(train) + val_weight * loss(val)) / (1 + val_weight)
    joint = found.joint_loss(problem, generator)
    torch.testing.assert_close(joint, expected)
    parameters = [found.logits, *supernet.parameters()]
    for ours, truth in zip(
        torch.autograd.grad(joint, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(ours, truth, rtol=1e-4, atol=1e-6)


def test_the_loss_of_snas_is_that_of_one_draw_on_train_images() -> None:
    """Of `softmax((α + Gumbel noise) / λ)`, the concrete distribution; no validation image is read."""
    torch.manual_seed(0)
    found, supernet = SNAS(TOY.options, CPU, start=2.0, end=0.5), Supernet(TOY)
    found.anneal(0.5)  # λ = 1
    train = (torch.randn(8, *TOY.input_shape), torch.randint(10, (8,)))
    nothing = (torch.full((8, *TOY.input_shape), torch.nan), train[1])
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1)
    problem = Bilevel(supernet, optimizer, train, nothing, cross_entropy, cross_entropy)
    joint = found.joint_loss(problem, torch.Generator().manual_seed(3))
    uniform = torch.rand(found.logits.shape, generator=torch.Generator().manual_seed(3)).clamp_(1e-10, 1.0 - 1e-7)
    z = torch.softmax(found.logits - torch.log(-torch.log(uniform)), dim=1)
    expected = cross_entropy(supernet(train[0], soft_gates(z, TOY.options)), train[1])
    torch.testing.assert_close(joint, expected)
    for ours, truth in zip(
        *(torch.autograd.grad(loss, [found.logits, *supernet.parameters()]) for loss in (joint, expected)), strict=True
    ):
        torch.testing.assert_close(ours, truth, rtol=1e-4, atol=1e-6)


def test_one_backward_pass_steps_weights_and_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both from where they were: neither sees the other's step."""
    rng, model = np.random.default_rng(0), toy_model()
    sets = [Images(rng.integers(0, 256, (n, *TOY.input_shape), np.uint8), rng.integers(0, 10, n)) for n in (32, 16, 8)]
    data = Dataset("noise", tuple(map(str, range(10))), *sets, (0.5,), (0.5,), flip=False)
    limits = AdditiveSet(latency_constraint(model, model.largest_ms))  # which presses nowhere
    settings = SearchSettings(warmup_epochs=0, epochs=1, batch_size=16, arch_every=2)
    loop = make_loop(TOY, [limits], strategy("single_level"), data, settings, seed=0, device=CPU)
    (budgeted,) = loop.constrained
    logits = budgeted.relaxation.logits
    seen: list[list[Tensor]] = []
    joint_loss = SingleLevel.joint_loss

    def spy(self: SingleLevel, problem: Bilevel, generator: torch.Generator) -> Tensor:
        seen.append(list(torch.autograd.grad(joint_loss(self, problem, generator), [logits, *loop.parameters])))
        return joint_loss(self, problem, generator)

    monkeypatch.setattr(SingleLevel, "joint_loss", spy)
    taken: list[Tensor] = []
    weights = [parameter.detach().clone() for parameter in loop.parameters]
    for optimizer in (loop.optimizer, *loop._arch_optimizers):
        optimizer.register_step_pre_hook(
            lambda optimizer, *_: taken.extend(p.grad.clone() for g in optimizer.param_groups for p in g["params"])
        )
    steps = loop.epoch(0)
    next(steps)
    (expected,) = seen
    count = len(loop.parameters)
    norm = torch.stack([gradient.norm() for gradient in expected[1:]]).norm()
    for ours, truth in zip(taken[:count], expected[1:], strict=True):
        torch.testing.assert_close(ours, truth * min(1.0, 5.0 / float(norm)), rtol=1e-3, atol=1e-6)
    assert len(taken) == count + 2
    for ours in taken[count:]:
        torch.testing.assert_close(ours, expected[0], rtol=1e-3, atol=1e-6)
    assert any(not torch.equal(before, after) for before, after in zip(weights, loop.parameters, strict=True))
    moved = logits.detach().clone()
    assert moved.abs().sum() > 0
    next(steps)
    assert len(seen) == 1, "a step of the weights alone"
    assert torch.equal(logits, moved)
