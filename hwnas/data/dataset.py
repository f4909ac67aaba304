"""Labelled images in memory, and how they are split into train, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas.errors import DataError

SMALLEST_CLASS = 3
"""A class needs one image in each of train, validation and test."""


@dataclass(frozen=True)
class Images:
    """Images and their labels.

    Attributes:
        pixels: shape (N, C, H, W), values 0..255.
        labels: shape (N,), the index of each image's class.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.labels.shape != self.pixels.shape[:1]:
            raise DataError(
                f"pixels must have shape (N, C, H, W) and labels (N,), "
                f"but they have {self.pixels.shape} and {self.labels.shape}",
                hint="give one label per image",
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: NDArray[np.int64]) -> Images:
        """The images at `indices`, in that order, copied."""
        return Images(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class Dataset:
    """Three disjoint sets of square images, and what is needed to feed them to a network.

    Attributes:
        name: what the set is called in reports.
        classes: the name of each class; a label is an index into it.
        mean: per channel, of the train pixels scaled to 0..1.
        std: per channel, of the same pixels; never below one grey level, so that it can divide.
        flip: whether a mirrored image (left-right) keeps its class.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    val: Images
    test: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool

    @property
    def channels(self) -> int:
        """Channels per pixel: 1 for grey, 3 for RGB."""
        return int(self.train.pixels.shape[1])

    @property
    def resolution(self) -> int:
        """Width and height in pixels."""
        return int(self.train.pixels.shape[2])

    def class_weights(self) -> tuple[float, ...]:
        """Weight of each class in the loss: N / (K · n_k), so that every class counts the same.

        The mean over the train images is 1; in an even set every weight is exactly 1.0.
        """
        counts = np.bincount(self.train.labels, minlength=len(self.classes))
        return tuple(len(self.train) / (len(self.classes) * int(count)) for count in counts)


def split(
    images: Images, fractions: tuple[float, float, float] = (0.7, 0.15, 0.15), *, seed: int
) -> tuple[Images, Images, Images]:
    """Split into train, validation and test, class by class, so that each has the proportions of the whole.

    Every class has at least one image in each split; within a split the images keep their order.

    Raises:
        DataError: a class has fewer than 3 images, or the fractions are not positive with sum 1.
    """
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(
            f"the fractions of a split must be positive and add up to 1, but they are {fractions}",
            hint="for example (0.7, 0.15, 0.15)",
        )
    generator = torch.Generator().manual_seed(seed)
    parts: tuple[list[NDArray[np.int64]], ...] = ([], [], [])
    for label in np.unique(images.labels):
        members = np.flatnonzero(images.labels == label)
        if len(members) < SMALLEST_CLASS:
            raise DataError(
                f"a class needs at least {SMALLEST_CLASS} images, but class {label} has {len(members)}",
                hint="add images to the class, or leave it out",
            )
        members = members[torch.randperm(len(members), generator=generator).numpy()]
        n_val = min(max(1, round(len(members) * fractions[1])), len(members) - 2)
        n_test = min(max(1, round(len(members) * fractions[2])), len(members) - 1 - n_val)
        for part, chosen in zip(parts, np.split(members, [-n_val - n_test, -n_test]), strict=True):
            part.append(chosen)
    train, val, test = (images.subset(np.sort(np.concatenate(part))) for part in parts)
    return train, val, test


def assemble(name: str, classes: Sequence[str], images: Images, *, seed: int, flip: bool) -> Dataset:
    """Split `images` by `seed` and measure mean and deviation of the train part.

    Raises:
        DataError: a class has fewer than 3 images.
    """
    train, val, test = split(images, seed=seed)
    # Counts per grey level are exact, and take no float copy of the pixels.
    levels = np.arange(256) / 255
    counts = np.stack([np.bincount(train.pixels[:, c].ravel(), minlength=256) for c in range(train.pixels.shape[1])])
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1)).clip(min=1 / 255)
    return Dataset(name, tuple(classes), train, val, test, tuple(mean.tolist()), tuple(std.tolist()), flip)
