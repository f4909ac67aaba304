"""β-decay: what it is, that it rises, that it guards every relaxation, and that it can be switched off."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from problems import TOY, toy_model
from torch import Tensor

from hwnas.data import Dataset, Images
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.guard import beta_decay
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategies, strategy


def test_it_is_the_mean_smooth_maximum_and_pulls_hardest_at_the_option_ahead() -> None:
    rows = [[0.3, -1.0, 2.0], [0.5, 0.1]]
    logits = torch.tensor([rows[0], [*rows[1], -math.inf]], requires_grad=True)
    value = beta_decay(logits)
    assert float(value.detach()) == pytest.approx(
        np.mean([math.log(sum(map(math.exp, row))) for row in rows]), rel=1e-5
    )
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(gradient, torch.softmax(logits.detach(), 1) / 2)
    assert gradient[1, 2] == 0


def alpha_gradients(name: str, weight: float, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What reaches Adam of α in each step of a search whose images and budget have no gradient."""
    rng, model = np.random.default_rng(0), toy_model()
    sets = [Images(rng.integers(0, 256, (n, *TOY.input_shape), np.uint8), rng.integers(0, 10, n)) for n in (48, 16, 8)]
    data = Dataset("noise", tuple(map(str, range(10))), *sets, (0.5,), (0.5,), flip=False)
    limits = AdditiveSet(latency_constraint(model, model.largest_ms))
    settings = SearchSettings(warmup_epochs=0, epochs=1, batch_size=16, arch_every=1, arch_lr=1e-9, beta_decay=weight)
    loop = make_loop(TOY, [limits], strategy(name), data, settings, seed=0, device=torch.device("cpu"))
    (budgeted,) = loop.constrained
    found = budgeted.relaxation
    monkeypatch.setattr(found, "joint_loss", lambda *_: None)
    monkeypatch.setattr(found, "gradient", lambda *_: torch.zeros_like(found.logits))
    seen: list[Tensor] = []
    loop._arch_optimizers[0].register_step_pre_hook(lambda *_: seen.append(found.logits.grad.clone()))  # type: ignore[union-attr]
    list(loop.epoch(0))
    return seen


@pytest.mark.parametrize("name", [entry.name for entry in strategies() if entry.relaxation is not None])
def test_a_search_guards_with_a_weight_that_rises(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = alpha_gradients(name, 6.0, monkeypatch)
    assert len(gradients) == 3
    uniform = torch.full((4, 3), 1 / 3 / 4)
    for step, gradient in enumerate(gradients):
        torch.testing.assert_close(gradient, 6.0 * step / 3 * uniform, rtol=1e-4, atol=1e-7)


def test_it_is_on_by_default_and_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SearchSettings().beta_decay > 0
    assert not any(gradient.any() for gradient in alpha_gradients("darts", 0.0, monkeypatch))
