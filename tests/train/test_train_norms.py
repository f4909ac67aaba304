from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hwnas.data import Dataset, Images
from hwnas.train import Recipe, train
from hwnas.train.joint_norms import joined_norms


def test_norms_keep_the_statistics_that_training_begins_with_where_that_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 255, (20, 1, 4, 4), dtype=np.uint8), np.arange(20) % 2)
    data = Dataset("noise", ("even", "odd"), images, images, images, (0.5,), (0.25,), flip=False)
    for kept in (True, False):
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(4)
        model = nn.Sequential(nn.Conv2d(1, 4, 1), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        scale, recipe = norm.weight.detach().clone(), Recipe(epochs=1, batch_size=5, keep_statistics=kept)
        train(model, data, recipe, seed=0, device=torch.device("cpu"))
        assert norm.running_mean is not None
        assert torch.equal(norm.running_mean, torch.zeros(4)) is kept
        assert not torch.equal(norm.weight, scale)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_norm_of_one_rank_is_batch_norm(kind: torch.dtype) -> None:
    """Also of maps in bfloat16, beside parameters in float32; afterwards it is what it was."""
    norm, found = nn.BatchNorm2d(6), []
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    x, g = ((3.0 + torch.randn(9, 6, 5, 5)).to(kind) for _ in range(2))
    for joint in (False, True):
        norm.reset_running_stats()
        norm.zero_grad()
        own = x.clone().requires_grad_()
        with joined_norms([norm] if joint else [], lambda value: value[None]):
            y = norm(own)
        y.backward(g)
        assert y.dtype == kind
        found.append([y, own.grad, norm.weight.grad, norm.bias.grad, *(one.clone() for one in norm.buffers())])
    off = 1e-4 if kind == torch.float32 else 0.05
    torch.testing.assert_close(found[1], found[0], atol=off, rtol=off)
    assert type(norm) is nn.BatchNorm2d
    assert "gather" not in vars(norm)
