"""Images of a data set as model files read them, and what a file makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas.backends.interface import BARE, Interface
from hwnas.backends.model_format import ModelFormat
from hwnas.data import Dataset, Images, to_input
from hwnas.metrics import Metrics, Tally, class_balanced_choice

_IMAGES, _CALIBRATION_IMAGES, _AT_ONCE = 64, 256, 32


@dataclass(frozen=True, eq=False)
class FileOutcome:
    """What a model file makes of labelled images.

    Attributes:
        right: (N,) whether each image is classified right.
    """

    metrics: Metrics
    right: NDArray[np.bool_]


def file_outcome(
    model_format: ModelFormat,
    model: bytes,
    dataset: Dataset,
    images: Images,
    tell: Callable[[int], None] = lambda images: None,
) -> FileOutcome:
    """What a model file makes of all images, a few in memory at a time; its metadata say what it reads.

    Args:
        tell: is called with each number of images more that are done.

    Raises:
        ExportError: the runtime refuses the model.
    """
    tally = Tally(len(dataset.classes))
    interface = Interface.of_metadata(model_format.metadata(model))
    with model_format.opened(model) as compute:
        for start in range(0, len(images), _AT_ONCE):
            part = images.subset(np.arange(start, min(start + _AT_ONCE, len(images))))
            tally.add(compute(as_read(part, dataset, interface)), part.labels)
            tell(len(part))
    return FileOutcome(tally.metrics(), tally.right())


def file_metrics(model_format: ModelFormat, model: bytes, dataset: Dataset, images: Images) -> Metrics:
    """The metrics of `file_outcome`, which says more."""
    return file_outcome(model_format, model, dataset, images).metrics


def calibration_inputs(dataset: Dataset, interface: Interface = BARE) -> NDArray[Any]:
    """Train images that the ranges of activations are taken from, as many of each class: (n, C, H, W).

    A fixed random choice, the same one every time, in a random order: folders are sorted by class, and a moving average
    of ranges knows little but what came last.
    """
    chosen = class_balanced_choice(dataset.train.labels, _CALIBRATION_IMAGES)
    chosen = np.random.default_rng(0).permutation(chosen)
    return as_read(dataset.train.subset(chosen), dataset, interface)


def real_images(dataset: Dataset) -> Images:
    """Up to 64 test images, evenly picked."""
    chosen = np.linspace(0, len(dataset.test) - 1, min(_IMAGES, len(dataset.test))).astype(np.int64)
    return dataset.test.subset(chosen)


def as_read(images: Images, dataset: Dataset, interface: Interface) -> NDArray[Any]:
    """Images as a file of this interface reads them, (n, C, H, W): pixels, or normalised values."""
    pixels = images.pixels
    return pixels if interface.pixels else input_values(pixels, dataset.mean, dataset.std)


def input_values(pixels: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Pixels (n, C, H, W) as the network reads them."""
    return to_input(torch.from_numpy(pixels), mean, std).contiguous().numpy()
