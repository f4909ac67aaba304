"""Measure a trained network, and give a network's batch norms the statistics that fit its weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from hwnas.data import Dataset, Images, batches
from hwnas.errors import DataError
from hwnas.metrics import Metrics, Tally

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

_BATCH, _FEWEST, _SIDE = 64, 8, 96


@dataclass(frozen=True)
class Evaluation:
    """How a network does on a set of images.

    Attributes:
        metrics: of what the images were taken for.
        loss: mean cross entropy in nats, without smoothing or class weights.
    """

    metrics: Metrics
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of the images whose largest logit is the right one, 0..1."""
        return self.metrics.accuracy

    @property
    def n(self) -> int:
        """Number of images."""
        return self.metrics.n


def evaluated_at_once(resolution: int) -> int:
    """Images of a batch without gradients: 64, and fewer of more than 96 pixels, so that no limit on memory binds.

    An image takes a seventh of what it takes in training, so that these take less than a step with two or three images.
    """
    return min(_BATCH, max(_FEWEST, _BATCH * _SIDE**2 // resolution**2))


def evaluate(
    model: nn.Module,
    images: Images,
    dataset: Dataset,
    *,
    device: torch.device,
    batch_size: int = 0,
    watch: Callable[[FloatArray, IntArray], None] | None = None,
) -> Evaluation:
    """Evaluate `model` on `images`, in eval mode; its modules' modes are left as they were found.

    Args:
        batch_size: images at once; 0 for as many as `evaluated_at_once` says.
        watch: takes the logits (B, K) and the labels (B,) of every batch, in the order of the images.

    Raises:
        DataError: there are no images.
    """
    if not len(images):
        raise DataError("an evaluation needs at least one image, but there is none", hint="use another split")
    model.to(device)
    tally, loss = Tally(len(dataset.classes)), 0.0
    batch_size = batch_size or evaluated_at_once(dataset.resolution)
    stream = batches(images, dataset, batch_size=batch_size, device=device, generator=None, augment=False)
    with _modes_kept(model), torch.inference_mode():
        model.eval()
        for x, y in stream:
            logits = model(x)
            outcome = logits.float().cpu().numpy(), y.cpu().numpy()
            tally.add(*outcome)
            if watch is not None:
                watch(*outcome)
            loss += float(cross_entropy(logits, y, reduction="sum"))
    return Evaluation(tally.metrics(), loss / len(images))


def recalibrate(
    model: nn.Module,
    images: Images,
    dataset: Dataset,
    *,
    device: torch.device,
    max_images: int = 2000,
    batch_size: int = 0,
) -> None:
    """Re-estimate the running statistics of every batch norm as the plain average over batches of up to `max_images`
    images.

    The images are a fixed random choice, so that every network sees the same ones and no batch is of one class only.
    Momentum and modes are left as they were found. Source: Guo et al., Single Path One-Shot NAS, ECCV 2020, section 3.

    Raises:
        DataError: there are fewer than two images.
    """
    batch_size = batch_size or evaluated_at_once(dataset.resolution)
    if min(len(images), max_images, batch_size) < 2:
        raise DataError(
            f"batch statistics need at least two images per batch, but of {len(images)} images at most "
            f"{max_images} are used, in batches of {batch_size}",
            hint="use the train images",
        )
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None]
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(images), generator=generator)[:max_images].numpy().astype(np.int64)
    model.to(device)
    stream = batches(
        images.subset(chosen), dataset, batch_size=batch_size, device=device, generator=generator, augment=False
    )
    momenta = [norm.momentum for norm in norms]
    try:
        with _modes_kept(model), torch.no_grad():
            model.eval()
            for norm in norms:
                norm.train()
                assert norm.running_mean is not None
                assert norm.running_var is not None
                norm.running_mean.zero_()
                norm.running_var.fill_(1)
            for i, (x, _) in enumerate(stream):
                for norm in norms:
                    norm.momentum = 1 / (i + 1)
                model(x)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@contextlib.contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
