"""A head on frozen features: every image goes through the network once, and the head is a convex problem."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hwnas.arch.network import Network
from hwnas.backends.torch import NetworkModule
from hwnas.data import Dataset, Images, batches
from hwnas.metrics import stratified_choice
from hwnas.nas.probe import fitted
from hwnas.parents.inherit import module_with
from hwnas.progress import Progress, Silent
from hwnas.train.evaluate import evaluated_at_once

MOST_IMAGES = 10_000
"""That a head is fitted on: their features take 50 MB, and more of them hardly change it."""
PENALTY = 0.1
"""Of the squared weights of a head; measured, docs/decisions/0065."""
_OF_A_CLASS = 10  # at least, where there are so many


def trunk(network: Network, state: Mapping[str, Tensor]) -> nn.Module:
    """All of a network but its classifier, in evaluation mode: (batch, C, H, W) to a map of features.

    Args:
        network: a chain of ops.
        state: at least the tensors of these ops, by their names in the network.
    """
    return module_with(Network(network.ops[:-1]), state).eval()


def with_head(network: Network, state: Mapping[str, Tensor], classifier: Mapping[str, Tensor]) -> NetworkModule:
    """A whole network in evaluation mode, with the weight and the bias of a `head` in place of its classifier's."""
    last = network.ops[-1][0]
    own = {f"{last}.linear.{part}": value for part, value in classifier.items()}
    return module_with(network, {**state, **own}).eval()


def head_images(images: Images, most: int = MOST_IMAGES) -> Images:
    """The images that a head is fitted on: a fixed choice of at most so many, with the shares of the classes.

    Of a class there are at least ten, or all, as far as that is possible.
    """
    return images.subset(stratified_choice(images.labels, min(most, MOST_IMAGES), _OF_A_CLASS))


def features(
    body: nn.Module,
    images: Images,
    dataset: Dataset,
    *,
    device: torch.device | None = None,
    progress: Progress | None = None,
    label: str = "the parent's features",
) -> Tensor:
    """What a classifier reads of every image (N, D) float32, on the CPU: the mean of each map of `body`'s output.

    Args:
        dataset: gives mean and deviation.
        label: for progress.
    """
    device = device or torch.device("cpu")
    body.to(device)
    at_once = evaluated_at_once(dataset.resolution)
    stream = batches(images, dataset, batch_size=at_once, device=device, generator=None, augment=False)
    found = []
    with torch.inference_mode(), (progress or Silent()).track(label, len(images)) as advance:
        for x, _ in stream:
            found.append(body(x).mean((2, 3)).float().cpu())
            advance(len(x))
        return torch.cat(found).clone()


def head(
    found: Tensor, labels: Tensor, dataset: Dataset, *, balanced: bool = False, penalty: float = PENALTY
) -> dict[str, Tensor]:
    """Weight (K, D) and bias (K,) of the logistic regression of labels (N,) on features (N, D).

    Args:
        dataset: gives the number of classes and their weights.
        balanced: whether every class counts the same, rather than every image.
        penalty: of the squared weights of features that are scaled to mean 0 and deviation 1.
    """
    weights = torch.tensor(dataset.class_weights(balanced=balanced))
    weight, bias = fitted(found, labels, weights, penalty=penalty)
    return {"weight": weight, "bias": bias}
