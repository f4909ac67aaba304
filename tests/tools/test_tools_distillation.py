"""The benchmark of distillation: its loss against what it is by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from bench_distillation import Distilled

from hwnas.data import Dataset, Images
from hwnas.train import Recipe

CPU = torch.device("cpu")
LOGITS = torch.tensor([[2.0, 0.0], [0.5, 1.0]])


class Teacher(nn.Module):
    """Knows the mean of an image: that is its first logit."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.mean((1, 2, 3)), torch.zeros(len(x))], 1)


def uneven() -> Dataset:
    """Three images of class 0 and one of class 1, each of one grey level, in no order."""
    levels = np.array([0, 255, 51, 102], dtype=np.uint8)
    images = Images(np.broadcast_to(levels[:, None, None, None], (4, 1, 4, 4)).copy(), np.array([0, 1, 0, 0]))
    return Dataset("uneven", ("a", "b"), images, images, images, (0.0,), (1.0,), flip=False)


@pytest.mark.parametrize("cached", [True, False])
def test_the_loss_mixes_smoothed_labels_with_those_of_the_teacher(cached: bool) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    run = Distilled(
        model,
        uneven(),
        Recipe(label_smoothing=0.2, class_balanced=True),
        0,
        CPU,
        teacher=Teacher(),
        weight=0.3,
        cached=cached,
    )
    places = torch.tensor([1, 3])
    levels = torch.tensor([1.0, 0.4])
    x = levels.view(2, 1, 1, 1).expand(2, 1, 4, 4) if not cached else torch.full((2, 1, 4, 4), math.nan)
    log_p = LOGITS - torch.tensor([[math.log(math.exp(a) + math.exp(b))] for a, b in LOGITS.tolist()])
    classes = torch.tensor([4 / (2 * 3), 4 / (2 * 1)])  # N / (K · n)
    labels = torch.tensor([1, 0])
    # Smoothing weighs each class of the target by its own weight, as torch does.
    hard = torch.tensor([[0.1, 0.9], [0.9, 0.1]])
    own = classes[labels]
    expected_hard = -(hard * classes * log_p).sum() / own.sum()
    soft = torch.stack([torch.sigmoid(levels), 1 - torch.sigmoid(levels)], 1)
    expected_soft = -(own * (soft * log_p).sum(1)).sum() / own.sum()
    torch.testing.assert_close(run.loss(LOGITS, x, places), 0.7 * expected_hard + 0.3 * expected_soft)
