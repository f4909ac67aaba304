"""Labelled images in memory, and how they are split into train, validation and test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas.data.resize import square
from hwnas.errors import DataError

SMALLEST_CLASS = 3
"""A class needs one image in each of train, validation and test."""

_COUNTED = 64


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

    def digest(self) -> str:
        """SHA-256 of the class names, pixels and labels of all three sets."""
        total = hashlib.sha256(repr(self.classes).encode())
        for part in (self.train, self.val, self.test):
            total.update(repr(part.pixels.shape).encode())
            total.update(np.ascontiguousarray(part.pixels).data)
            total.update(np.ascontiguousarray(part.labels).data)
        return total.hexdigest()

    def class_weights(self, *, balanced: bool = True) -> tuple[float, ...]:
        """Weight of each class in the loss: N / (K · n_k), so that every class counts the same; 1.0 if not `balanced`.

        The mean over the train images is 1; in an even set every weight is exactly 1.0.
        """
        if not balanced:
            return (1.0,) * len(self.classes)
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
    train, val, test = _divide(images, fractions[1:], seed=seed)
    return train, val, test


def hold_out(images: Images, fraction: float = 0.1, *, seed: int) -> tuple[Images, Images]:
    """Split into train and validation, class by class, where the test images come apart.

    Raises:
        DataError: a class has fewer than 2 images.
    """
    train, val = _divide(images, (fraction,), seed=seed)
    return train, val


def _divide(images: Images, held_out: Sequence[float], *, seed: int) -> list[Images]:
    """The rest, then one set per share that is held out; of every class each has at least one image."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(1 + len(held_out))]
    for label in np.unique(images.labels):
        members = np.flatnonzero(images.labels == label)
        if len(members) < len(parts):
            raise DataError(
                f"a class needs at least {len(parts)} images, but class {label} has {len(members)}",
                hint="add images to the class, or leave it out",
            )
        members = members[torch.randperm(len(members), generator=generator).numpy()]
        ends = [len(members)]
        for index, share in enumerate(held_out):
            ends.append(ends[-1] - min(max(1, round(len(members) * share)), ends[-1] - len(held_out) + index))
        rest, *others = np.split(members, ends[:0:-1])
        for part, chosen in zip(parts, [rest, *others[::-1]], strict=True):
            part.append(chosen)
    return [images.subset(np.sort(np.concatenate(part))) for part in parts]


def assemble(
    name: str,
    classes: Sequence[str],
    images: Images,
    *,
    seed: int,
    flip: bool,
    val: Images | None = None,
    test: Images | None = None,
) -> Dataset:
    """Split `images` by `seed` and measure mean and deviation of the train part.

    Where a set comes with `test` images, these are the test part, and only a validation part is taken from `images`;
    where it comes with `val` too, `images` are the train part as they are.

    Raises:
        DataError: a class has too few images to be in each of train, validation and test.
    """
    needed = SMALLEST_CLASS if test is None else 2 if val is None else 1
    counts = np.bincount(images.labels, minlength=len(classes))
    if counts.min() < needed:
        smallest = int(counts.argmin())
        raise DataError(
            f"a class needs at least {needed} images{'' if test is None else ' to train and validate with'}, but class "
            f"{classes[smallest]!r} of {name} has {counts[smallest]}",
            hint="add images to the class, or leave it out",
        )
    if test is None:
        train, val, test = split(images, seed=seed)
    elif val is None:
        train, val = hold_out(images, seed=seed)
    else:
        train = images
    for kind, part in (("train", train), ("validation", val), ("test", test)):
        absent = np.flatnonzero(np.bincount(part.labels, minlength=len(classes)) == 0)
        if len(absent):
            raise DataError(
                f"every class needs images to train, to validate and to test with, but class {classes[absent[0]]!r} "
                f"has none among the {kind} images of {name}",
                hint="add images to the class, or leave it out",
            )
    mean, std = statistics(train)
    return Dataset(name, tuple(classes), train, val, test, mean, std, flip)


def resized(dataset: Dataset, resolution: int) -> Dataset:
    """The same images at `resolution` × `resolution`; mean and deviation are measured again."""
    if resolution == dataset.resolution:
        return dataset
    train, val, test = (
        Images(square(part.pixels, resolution), part.labels) for part in (dataset.train, dataset.val, dataset.test)
    )
    mean, std = statistics(train)
    return replace(dataset, train=train, val=val, test=test, mean=mean, std=std)


def statistics(train: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, of pixels scaled to 0..1."""
    # Counts per grey level are exact. Few images at a time: bincount makes 8 bytes of every pixel.
    levels = np.arange(256) / 255
    counts = np.zeros((train.pixels.shape[1], 256), np.int64)
    for start in range(0, len(train), _COUNTED):
        for channel, row in enumerate(counts):
            row += np.bincount(train.pixels[start : start + _COUNTED, channel].ravel(), minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1)).clip(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())
