from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwnas.data import Dataset, Images, to_input
from hwnas.errors import DataError
from hwnas.train import evaluate, recalibrate

CPU = torch.device("cpu")


def noise(n: int, classes: int = 3) -> Dataset:
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (n, 2, 4, 4), dtype=np.uint8), np.sort(np.arange(n) % classes))
    names = tuple(str(i) for i in range(classes))
    return Dataset("noise", names, images, images, images, (0.5, 0.5), (0.3, 0.3), flip=False)


class Constant(nn.Module):
    """Gives every image the same logits."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_evaluation_of_a_constant_network(batch_size: int) -> None:
    data = noise(10)  # 4, 3 and 3 images
    result = evaluate(Constant([math.log(2), 0, 0]), data.test, data, device=CPU, batch_size=batch_size)
    assert (result.accuracy, result.n) == (0.4, 10)
    assert result.loss == pytest.approx(-(4 * math.log(0.5) + 6 * math.log(0.25)) / 10)


def test_evaluation_leaves_the_network_alone() -> None:
    data = noise(9)
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(32, 3))
    model.train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (evaluate(model, data.test, data, device=CPU) for _ in range(2))
    assert first == second
    assert [m.training for m in model] == [True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_no_images_no_evaluation() -> None:
    data = noise(9)
    with pytest.raises(DataError, match="at least one image"):
        evaluate(Constant([0.0] * 3), data.test.subset(np.arange(0)), data, device=CPU)


@pytest.mark.parametrize("counted", [True, False])
def test_recalibration_is_the_average_over_batches(counted: bool) -> None:
    data = noise(64)
    norm = nn.BatchNorm2d(2, momentum=0.3)
    norm.running_mean.fill_(math.nan)
    if not counted:
        norm.num_batches_tracked = None
    model = nn.Sequential(norm, nn.Dropout(0.5))
    model.eval()
    recalibrate(model, data.train, data, device=CPU, batch_size=16)
    x = to_input(torch.from_numpy(data.train.pixels), data.mean, data.std).double()
    # All batches are of one size: the average of their means is the mean of all.
    torch.testing.assert_close(norm.running_mean.double(), x.mean((0, 2, 3)), atol=1e-6, rtol=0)
    assert (norm.momentum, norm.training, model.training) == (0.3, False, False)

    order = torch.randperm(64, generator=(generator := torch.Generator().manual_seed(0)))
    order = order[torch.randperm(64, generator=generator)]
    variances = torch.stack([x[chosen].var((0, 2, 3)) for chosen in order.split(16)])
    torch.testing.assert_close(norm.running_var.double(), variances.mean(0), atol=1e-6, rtol=0)


def test_recalibration_agrees_with_torch_s_cumulative_average() -> None:
    data = noise(50)
    norm, reference = nn.BatchNorm2d(2), nn.BatchNorm2d(2, momentum=None)
    seen: list[Tensor] = []
    norm.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    recalibrate(norm, data.train, data, device=CPU, batch_size=16, max_images=40)
    assert [len(x) for x in seen] == [16, 16, 8]
    for x in seen:
        reference(x)
    torch.testing.assert_close(norm.running_mean, reference.running_mean)
    torch.testing.assert_close(norm.running_var, reference.running_var)


def test_recalibration_mixes_classes_that_lie_one_after_the_other() -> None:
    labels = np.repeat(np.arange(2), 32)
    images = Images(np.broadcast_to((labels * 255).astype(np.uint8)[:, None, None, None], (64, 1, 2, 2)).copy(), labels)
    data = Dataset("blocks", ("dark", "bright"), images, images, images, (0.5,), (0.5,), flip=False)
    norm = nn.BatchNorm2d(1)
    recalibrate(norm, images, data, device=CPU, batch_size=16)
    assert norm.running_var.item() > 0.8  # pure batches would have no variance at all


def test_recalibration_needs_two_images() -> None:
    data = noise(9)
    with pytest.raises(DataError, match="at least two images"):
        recalibrate(nn.BatchNorm2d(2), data.train.subset(np.arange(1)), data, device=CPU)
