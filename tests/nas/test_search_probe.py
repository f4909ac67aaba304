"""The linear probe that a search from an initialisation begins with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from hwnas.arch.spaces.toy import toy
from hwnas.data import Dataset, Images
from hwnas.nas.probe import fit_classifier, fitted
from hwnas.nas.supernet import Gate, Supernet, single_path


def clusters(seed: int, n: int = 90) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes around points 2 apart in four dimensions of unlike scales."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3)
    points = 2.0 * np.eye(3, 4)[labels] + rng.normal(size=(n, 4))
    return torch.tensor(points * [1.0, 10.0, 0.1, 5.0] + 3.0, dtype=torch.float32), torch.tensor(labels)


def test_the_probe_is_where_the_gradient_of_its_loss_is_zero() -> None:
    features, labels = clusters(0)
    weight, bias = fitted(features, labels, torch.tensor([1.0, 2.0, 0.5]))
    mean, deviation = features.double().mean(0), features.double().std(0)
    deviation = deviation.clamp_min(deviation.median())
    own = (weight.double() * deviation).requires_grad_()
    moved = (bias.double() + weight.double() @ mean).requires_grad_()
    logits = (features.double() - mean) / deviation @ own.T + moved
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    loss = cross_entropy(logits, labels, weight=weights, label_smoothing=0.1) + 0.01 * own.square().sum()
    for gradient in torch.autograd.grad(loss, [own, moved]):
        assert gradient.abs().max() < 1e-3


def test_the_probe_does_not_depend_on_the_scale_of_features() -> None:
    features, labels = clusters(0)
    one, other = (fitted(scale * features - shift, labels, torch.ones(3)) for scale, shift in ((1.0, 0.0), (7.0, 2.0)))
    logits = features @ one[0].T + one[1]
    torch.testing.assert_close((7.0 * features - 2.0) @ other[0].T + other[1], logits, atol=5e-3, rtol=1e-2)


def a_dataset() -> Dataset:
    """Three classes of stripes that differ in their period, hard to miss."""
    rng = np.random.default_rng(0)

    def part(n: int) -> Images:
        labels = np.arange(n) % 3
        rows = np.arange(8)[None, None, :, None] // (labels[:, None, None, None] + 1) % 2 * 200
        pixels = np.broadcast_to(rows, (n, 1, 8, 8)) + rng.integers(0, 50, (n, 1, 8, 8))
        return Images(pixels.astype(np.uint8), labels)

    return Dataset("stripes", tuple("abc"), part(60), part(30), part(30), (0.5,), (0.3,), flip=False)


def first(generator: torch.Generator) -> list[Gate]:
    return single_path([0] * len(SPACE.decisions))


SPACE = toy(resolution=8, channels=1, classes=3)


def test_the_classifier_is_fitted_and_nothing_else_changes() -> None:
    torch.manual_seed(0)
    supernet, data = Supernet(SPACE), a_dataset()
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    assert fit_classifier(supernet, data, first, seed=0)
    slot = SPACE.slots[-1].name
    changed = {name for name, value in supernet.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(f"{slot}.") for name in changed)
    assert supernet.training
    x = torch.from_numpy(data.test.pixels).float() / 255 / 0.3 - 0.5 / 0.3
    with torch.no_grad():
        right = (supernet(x, first(torch.Generator())).argmax(1) == torch.from_numpy(data.test.labels)).double().mean()
    assert right > 0.9
    again = {name: value.clone() for name, value in supernet.state_dict().items()}
    fit_classifier(supernet, data, first, seed=0)
    assert all(torch.equal(value, again[name]) for name, value in supernet.state_dict().items() if slot in name)


def test_a_classifier_that_is_better_on_validation_images_stays() -> None:
    """Validation labels that are not those of the train images: a probe of these is worse than none."""
    torch.manual_seed(0)
    supernet, data = Supernet(SPACE), a_dataset()
    turned = replace(data, val=Images(data.val.pixels, (data.val.labels + 1) % 3))
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    assert not fit_classifier(supernet, turned, first, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_supernet_is_kept(training: bool) -> None:
    supernet = Supernet(SPACE).train(training)
    fit_classifier(supernet, a_dataset(), first, seed=0)
    assert supernet.training is training
