"""A head on frozen features: every image goes through the network once, and the head is a convex problem."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hwnas.arch.network import Network
from hwnas.data import Dataset, Images, batches
from hwnas.nas.probe import fitted
from hwnas.parents.inherit import module_with
from hwnas.progress import Progress, Silent

_BATCH = 32


def trunk(network: Network, state: Mapping[str, Tensor]) -> nn.Module:
    """All of a network but its classifier, in evaluation mode: (batch, C, H, W) to a map of features.

    Args:
        network: a chain of ops.
        state: at least the tensors of these ops, by their names in the network.
    """
    return module_with(Network(network.ops[:-1]), state).eval()


def features(
    body: nn.Module,
    images: Images,
    dataset: Dataset,
    *,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """What a classifier reads of every image (N, D) float32, on the CPU: the mean of each map of `body`'s output.

    Args:
        dataset: gives mean and deviation.
    """
    device = device or torch.device("cpu")
    body.to(device)
    stream = batches(images, dataset, batch_size=_BATCH, device=device, generator=None, augment=False)
    found = []
    with torch.inference_mode(), (progress or Silent()).track("the parent's features", len(images)) as advance:
        for x, _ in stream:
            found.append(body(x).mean((2, 3)).cpu())
            advance(len(x))
        return torch.cat(found).clone()


def head(found: Tensor, labels: Tensor, dataset: Dataset, *, balanced: bool = False) -> dict[str, Tensor]:
    """Weight (K, D) and bias (K,) of the logistic regression of labels (N,) on features (N, D).

    Args:
        dataset: gives the number of classes and their weights.
        balanced: whether every class counts the same, rather than every image.
    """
    weight, bias = fitted(found, labels, torch.tensor(dataset.class_weights(balanced=balanced)))
    return {"weight": weight, "bias": bias}
