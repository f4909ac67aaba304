from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_parents import SIZE, made_up
from torch.nn.functional import cross_entropy

from hwnas.data import Dataset, batches
from hwnas.parents.frozen import features, head, trunk
from hwnas.parents.inherit import module_with
from hwnas.parents.judged_head import cross_validated, head_losses


def test_features_are_what_the_classifier_reads(dataset: Callable[..., Dataset]) -> None:
    weights, images = made_up(), made_up().parent.prepared(dataset())
    network = weights.network(resolution=SIZE)
    found = features(trunk(network, weights.tensors), images.val, images)
    x, _ = next(batches(images.val, images, batch_size=20, device=torch.device("cpu"), generator=None, augment=False))
    own = {name.removeprefix("classifier.linear."): value for name, value in weights.tensors.items()}
    expected = module_with(network, weights.tensors).eval()(x)
    torch.testing.assert_close(found @ own["weight"].T + own["bias"], expected, rtol=1e-4, atol=1e-4)


def test_a_head_finds_classes_that_are_linear_in_the_features(dataset: Callable[..., Dataset]) -> None:
    images = dataset()
    torch.manual_seed(0)
    found, truth = torch.randn(400, 12), torch.randn(5, 12)
    labels = (found @ truth.T).argmax(1)
    linear = head(found[:300], labels[:300], images)
    assert {name: tuple(value.shape) for name, value in linear.items()} == {"weight": (5, 12), "bias": (5,)}
    right = (found[300:] @ linear["weight"].T + linear["bias"]).argmax(1) == labels[300:]
    assert float(right.float().mean()) >= 0.8


def test_cross_validation_tells_what_new_images_would(dataset: Callable[..., Dataset]) -> None:
    images = dataset()
    generator = torch.Generator().manual_seed(0)
    found, truth = (torch.randn(count, 12, generator=generator) for count in (2400, 5))
    labels = (found @ truth.T).argmax(1)
    few, new = slice(0, 200), slice(200, None)
    told = cross_validated(found[few], labels[few], images, penalties=(10.0, 0.01))
    assert told.losses.shape == (200,)

    def of_new(count: int, penalty: float) -> tuple[float, float]:
        own = head(found[:count], labels[:count], images, penalty=penalty)
        logits = found[new] @ own["weight"].T + own["bias"]
        losses = head_losses(logits, labels[new], images, balanced=False)
        return float(losses.mean()), float((logits.argmax(1) == labels[new]).float().mean())

    loss, accuracy = of_new(150, 0.01)  # three quarters of the images, with the better penalty
    assert of_new(150, 10.0)[0] > 1.2 * loss
    assert told.loss == pytest.approx(loss, rel=0.1)
    assert told.accuracy == pytest.approx(accuracy, abs=0.06)
    assert told.halved == pytest.approx(of_new(75, 0.01)[0], rel=0.1)
    assert told.halved > told.loss


def test_cross_validation_learns_nothing_from_noise(dataset: Callable[..., Dataset]) -> None:
    """A head on the same images would have them all by heart."""
    images = dataset()
    generator = torch.Generator().manual_seed(0)
    found, labels = torch.randn(100, 200, generator=generator), torch.arange(100) % 5
    own = head(found, labels, images, penalty=0.01)
    assert float(((found @ own["weight"].T + own["bias"]).argmax(1) == labels).float().mean()) == 1.0
    told = cross_validated(found, labels, images, penalties=(0.01,))
    assert told.loss > np.log(5)
    assert told.accuracy < 0.35


def test_losses_of_heads_have_the_weights_of_their_classes(dataset: Callable[..., Dataset]) -> None:
    images = dataset()
    few = replace(images, train=images.train.subset(np.flatnonzero(np.arange(len(images.train)) % 3 < 2)[:17]))
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 5, generator=generator), torch.tensor([0, 1, 2, 3, 4, 0])
    weights = torch.tensor(few.class_weights(balanced=True))
    for balanced in (True, False):
        expected = cross_entropy(logits, labels, weight=weights if balanced else None)
        assert head_losses(logits, labels, few, balanced=balanced).mean() == pytest.approx(float(expected), rel=1e-5)
