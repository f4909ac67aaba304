from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hwnas.data import Dataset, Images
from hwnas.train import Recipe, train


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
