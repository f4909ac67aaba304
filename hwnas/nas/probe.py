"""A classifier for a supernet whose other weights were learned on other images: a linear probe of its features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from hwnas.data import Dataset, Images, batches
from hwnas.nas.supernet import Gate, Supernet

_PATHS, _IMAGES, _BATCH = 6, 2000, 250
_L2, _SMOOTHING, _STEPS = 1e-2, 0.1, 60


def fit_classifier(
    supernet: Supernet,
    dataset: Dataset,
    path: Callable[[torch.Generator], list[Gate]],
    *,
    seed: int,
    balanced: bool = True,
) -> bool:
    """Set the classifier to a linear probe of the features of a few paths, where that has the lower validation loss.

    Fine-tuning from a random classifier distorts features that were learned elsewhere; from a probe it does not (Kumar
    et al., ICLR 2022). Features come from up to 2,000 train images on each of 6 paths, with the batch norms' statistics
    of each batch. Nothing but the classifier changes.

    Args:
        path: draws the gates of a path.
        balanced: whether every class counts the same, rather than every image.

    Returns:
        Whether the probe was taken.
    """
    linear = _classifier(supernet)
    generator = torch.Generator().manual_seed(seed)
    paths = [path(generator) for _ in range(_PATHS)]
    train, val = (_features(supernet, images, dataset, paths, seed) for images in (dataset.train, dataset.val))
    weights = torch.tensor(dataset.class_weights(balanced=balanced))
    probe = fitted(*train, weights)
    was = tuple(value.detach().cpu() for value in (linear.weight, linear.bias))
    losses = [float(cross_entropy(val[0] @ weight.T + bias, val[1], weight=weights)) for weight, bias in (probe, was)]
    if losses[0] >= losses[1]:
        return False
    with torch.no_grad():
        linear.weight.copy_(probe[0])
        linear.bias.copy_(probe[1])
    return True


def fitted(features: Tensor, labels: Tensor, class_weights: Tensor, *, penalty: float = _L2) -> tuple[Tensor, Tensor]:
    """Weight (K, D) and bias (K,) of the logistic regression of labels (N,) on features (N, D), on the CPU.

    Labels are smoothed by .1. A feature that varies less than half of them is scaled by the median deviation of all:
    its own may be rounding, or the chance of a few images, and would make its weight large (docs/decisions/0065).

    Args:
        penalty: of the squared weights of features that are scaled to mean 0 and, at most, deviation 1.
    """
    mean, deviation = features.mean(0), features.std(0)
    deviation = deviation.clamp_min(max(1e-4, float(deviation.median())))
    scaled = (features - mean) / deviation
    weight = torch.zeros(len(class_weights), features.shape[1], requires_grad=True)
    bias = torch.zeros(len(class_weights), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = scaled @ weight.T + bias
        loss = cross_entropy(logits, labels, weight=class_weights, label_smoothing=_SMOOTHING)
        loss = loss + penalty * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        own = weight / deviation
        return own, bias - own @ mean


def _classifier(supernet: Supernet) -> nn.Linear:
    slot = supernet.get_submodule(supernet.space.slots[-1].name)
    found = [module for module in slot.modules() if isinstance(module, nn.Linear)]
    assert len(found) == 1
    return found[0]


def _features(
    supernet: Supernet, images: Images, dataset: Dataset, paths: list[list[Gate]], seed: int
) -> tuple[Tensor, Tensor]:
    """What the classifier reads (N, D), and labels (N,): of every path, some batches of images."""
    linear = _classifier(supernet)
    read: list[Tensor] = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].detach().cpu().float()))
    device, was_training, labels = linear.weight.device, supernet.training, []
    supernet.train()
    try:
        for turn, gates in enumerate(paths):
            generator = torch.Generator().manual_seed(seed + turn)
            stream = batches(images, dataset, batch_size=_BATCH, device=device, generator=generator, augment=False)
            seen = 0
            for x, y in stream:
                buffers = {name: value.clone() for name, value in supernet.named_buffers()}
                with torch.no_grad():
                    functional_call(supernet, buffers, (x, gates))
                labels.append(y.cpu())
                seen += len(y)
                if seen >= _IMAGES:
                    break
    finally:
        hook.remove()
        supernet.train(was_training)
    return torch.cat(read).flatten(1), torch.cat(labels)
