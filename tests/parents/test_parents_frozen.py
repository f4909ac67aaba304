from __future__ import annotations

from collections.abc import Callable

import torch
from made_up_parents import SIZE, made_up

from hwnas.data import Dataset, batches
from hwnas.parents.frozen import features, head, trunk
from hwnas.parents.inherit import module_with


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
