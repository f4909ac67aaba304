from __future__ import annotations

import math

import pytest
import torch

from hwnas.nas.search_optimizers import clipped, weights_optimizer
from hwnas.nas.search_settings import SearchSettings


@pytest.mark.parametrize("images", [1, 100, 1257, 4500, 45_000, 1_200_000])
def test_alpha_can_move_as_far_in_a_long_search_as_in_a_short_one(images: int) -> None:
    settings = SearchSettings.for_images(images)
    steps = max(1, images // settings.batch_size)
    arch_steps = settings.epochs * math.ceil(steps / settings.arch_every)
    rate = settings.arch_rate(steps)
    assert rate <= settings.arch_lr
    assert rate * arch_steps <= settings.arch_travel * (1 + 1e-9)
    assert rate == settings.arch_lr or rate * arch_steps == pytest.approx(settings.arch_travel)


def test_the_rate_that_the_digits_were_tuned_for_is_theirs() -> None:
    settings = SearchSettings.for_images(1257)
    assert settings.arch_rate(1257 // settings.batch_size) == pytest.approx(0.05, rel=0.1)


def test_without_a_bound_the_rate_of_alpha_is_as_it_is_set() -> None:
    assert SearchSettings(epochs=50, arch_lr=3e-4, arch_travel=0.0).arch_rate(391) == 3e-4


def test_a_cosine_ends_where_it_is_to() -> None:
    settings = SearchSettings(warmup_epochs=0, epochs=50, lr=0.025, lr_end=0.001, schedule="cosine")
    rates = [settings.learning_rate(epoch) for epoch in range(51)]
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.025)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=0.001)
    truth = []
    for _ in range(51):
        truth.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx(truth, rel=1e-6)


def test_restarts_are_those_of_enas_at_its_310_epochs() -> None:
    """T0 = 10, doubled each time, as torch has it (Loshchilov and Hutter, 2017, equation 5)."""
    settings = SearchSettings(warmup_epochs=0, epochs=310, lr=0.05, lr_end=0.0005, schedule="restarts")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 10, 2, eta_min=0.0005)
    for epoch in range(310):
        scheduler.step(epoch)
        assert settings.learning_rate(epoch + 1e-9) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-5), epoch


@pytest.mark.parametrize("name", ["sgd", "nesterov"])
def test_sgd_is_that_of_the_papers(name: str) -> None:
    """v ← μ v + g + λ w, and w ← w - η v; Nesterov's steps by g + μ v."""
    settings = SearchSettings(optimizer=name, lr=0.1, momentum=0.9, weight_decay=0.01)  # type: ignore[arg-type]
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = weights_optimizer([parameter], settings)
    w, v = 2.0, 0.0
    for gradient in (1.0, -0.5, 0.25):
        parameter.grad = torch.tensor([gradient])
        optimizer.step()
        g = gradient + 0.01 * w
        v = 0.9 * v + g
        w -= 0.1 * (g + 0.9 * v if name == "nesterov" else v)
        assert parameter.item() == pytest.approx(w, rel=1e-5)


def test_gradients_are_clipped_or_left_alone() -> None:
    for largest, left in ((5.0, 5.0), (0.0, 13.0)):
        parameter = torch.nn.Parameter(torch.zeros(2))
        parameter.grad = torch.tensor([5.0, 12.0])
        assert clipped([parameter], largest) == pytest.approx(13.0)
        assert float(parameter.grad.norm()) == pytest.approx(left, rel=1e-4)


def test_settings_of_earlier_searches_have_their_identity() -> None:
    """So that a search that an earlier version began goes on."""
    assert not {"guard", "optimizer", "schedule", "temperature", "arch_init"} & SearchSettings().identity().keys()
    assert SearchSettings(guard="none").identity()["guard"] == "none"
