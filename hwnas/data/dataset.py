"""Labelled images, and how they are split into train, validation and test."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas.data.read_ahead import in_small_batches, read_ahead
from hwnas.data.reading import COUNTED, Reading
from hwnas.data.resize import LARGEST_BYTES
from hwnas.data.stores import ArrayStore, Store
from hwnas.display import counted
from hwnas.errors import DataError
from hwnas.image_size import Size, SizeLike

SMALLEST_CLASS = 3
"""A class needs one image in each of train, validation and test."""

_VALIDATION, _HELD_OUT = 0.1, 0.15  # of the train images, where the test images come apart and where not


class Images:
    """Labels, and where the pixels are: a subset is an index, never a copy.

    Attributes:
        store: holds the pixels, of these images and maybe of others.
        labels: shape (N,), the index of each image's class.
        rows: shape (N,), of the images in the store.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8] | Store,
        labels: NDArray[np.int64],
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Images in an array of shape (N, C, H, W), values 0..255, or in a store; all of them without `rows`.

        Raises:
            DataError: the shapes do not fit.
        """
        if isinstance(pixels, np.ndarray):
            if pixels.ndim != 4:
                raise _misshapen(pixels.shape, labels)
            pixels = ArrayStore(pixels)
        self.store, self.labels = pixels, labels
        self.rows = np.arange(len(pixels)) if rows is None else rows
        if labels.shape != self.rows.shape:
            raise _misshapen(self.shape, labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return len(self.rows), *self.store.shape

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """All pixels at once, shape (N, C, H, W): for sets that fit into memory.

        Raises:
            DataError: an image cannot be read, or all are larger than `LARGEST_BYTES`.
        """
        size_bytes = math.prod(self.shape)
        if size_bytes > LARGEST_BYTES:
            raise DataError(
                f"images that are used all at once have to fit into {LARGEST_BYTES / 2**30:.3g} GiB, but "
                f"{len(self)} images take {size_bytes / 2**30:.3g} GiB",
                hint="choose a smaller --resolution, or fewer images",
            )
        pixels, done = np.empty(self.shape, np.uint8), 0
        for some in read_ahead(self.store, in_small_batches(self.store, self.rows)):
            pixels[done : done + len(some)] = some
            done += len(some)
        return pixels

    @property
    def in_memory(self) -> bool:
        """Whether no image has to be read from a file."""
        return isinstance(self.store, ArrayStore)

    def subset(self, indices: NDArray[np.int64]) -> Images:
        """The images at `indices`, in that order."""
        return Images(self.store, self.labels[indices], self.rows[indices])

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pixels of the images at `indices`, in that order, shape (n, C, H, W).

        Raises:
            DataError: an image cannot be read.
        """
        rows = self.rows[indices]
        pixels = np.empty((len(rows), *self.store.shape), np.uint8)
        self.store.read(rows, pixels)
        return pixels

    def resized(self, resolution: Size) -> Images:
        """The same images at another size."""
        store, rows = self.store.resized(self.rows, resolution)
        return Images(store, self.labels, rows)


def _misshapen(shape: tuple[int, ...], labels: NDArray[np.int64]) -> DataError:
    return DataError(
        f"pixels must have shape (N, C, H, W) and labels (N,), but they have {shape} and {labels.shape}",
        hint="give one label per image",
    )


@dataclass(frozen=True)
class Dataset:
    """Three disjoint sets of images of one size, and what is needed to feed them to a network.

    Attributes:
        name: what the set is called in reports.
        classes: the name of each class; a label is an index into it.
        mean: per channel, of the train pixels scaled to 0..1.
        std: per channel, of the same pixels; never below one grey level, so that it can divide.
        flip: whether a mirrored image (left-right) keeps its class.
        reading: how image files were read, and are to be read for the network.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    val: Images
    test: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    reading: Reading = field(default_factory=Reading)

    @property
    def channels(self) -> int:
        """Channels per pixel: 1 for grey, 3 for RGB, any number for arrays."""
        return self.train.shape[1]

    @property
    def resolution(self) -> int:
        """Side in pixels of a square with as many."""
        return self.size.side

    @property
    def size(self) -> Size:
        """Of every image."""
        return Size(*self.train.shape[2:])

    def digest(self) -> str:
        """SHA-256 of the class names, pixels and labels of all three sets.

        Of images in files it is their content and the way of reading that counts; no pixel is read.
        """
        total = hashlib.sha256(repr(self.classes).encode())
        for part in (self.train, self.val, self.test):
            total.update(repr(part.shape).encode())
            for piece in part.store.identity(part.rows):
                total.update(piece)
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
    train, val, test = (images.subset(chosen) for chosen in _divide(images.labels, fractions[1:], seed=seed))
    return train, val, test


def _divide(labels: NDArray[np.int64], held_out: Sequence[float], *, seed: int) -> list[NDArray[np.int64]]:
    """Indices of the rest, then of one set per share that is held out; of every class each has at least one image."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(1 + len(held_out))]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
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
    return [np.sort(np.concatenate(part)) for part in parts]


Chosen = tuple[str, NDArray[np.int64] | None]
"""Which of the given parts images come from, and which of them; None for all."""


def divided(
    name: str, classes: Sequence[str], labels: Mapping[str, NDArray[np.int64]], *, seed: int
) -> dict[str, Chosen]:
    """Where the images of `train`, `val` and `test` come from: what does not come apart is split off `train` by `seed`.

    Args:
        labels: of the images that are given as `train`, and as `val` and `test` where those come apart.

    Raises:
        DataError: a class has too few images to be in each of train, validation and test.
    """
    given = labels["train"]
    missing = [part for part in ("val", "test") if part not in labels]
    counts = np.bincount(given, minlength=len(classes))
    if counts.min() < 1 + len(missing):
        smallest = int(counts.argmin())
        use = "" if "test" in missing else " to train and validate with"
        raise DataError(
            f"a class needs at least {counted(1 + len(missing), 'image')}{use}, but class {classes[smallest]!r} of "
            f"{name} has {counts[smallest]}",
            hint="add images to the class, or leave it out",
        )
    shares = {"val": _VALIDATION if "test" in labels else _HELD_OUT, "test": _HELD_OUT}
    result: dict[str, Chosen] = {part: (part, None) for part in labels}
    if missing:
        indices = _divide(given, [shares[part] for part in missing], seed=seed)
        result |= {part: ("train", chosen) for part, chosen in zip(("train", *missing), indices, strict=True)}
    for part, kind in (("train", "train"), ("val", "validation"), ("test", "test")):
        source, chosen = result[part]
        left = labels[source] if chosen is None else labels[source][chosen]
        absent = np.flatnonzero(np.bincount(left, minlength=len(classes)) == 0)
        if len(absent):
            raise DataError(
                f"every class needs images to train, to validate and to test with, but class {classes[absent[0]]!r} "
                f"has none among the {kind} images of {name}",
                hint="add images to the class, or leave it out",
            )
    return result


def assemble(
    name: str,
    classes: Sequence[str],
    images: Images,
    *,
    seed: int,
    flip: bool,
    val: Images | None = None,
    test: Images | None = None,
    counted: int = COUNTED,
) -> Dataset:
    """Split `images` by `seed` and measure mean and deviation of the train part.

    Where a set comes with `val` or `test` images, these are those parts, and only what is missing is taken from
    `images`. `counted` is for `statistics`.

    Raises:
        DataError: a class has too few images to be in each of train, validation and test.
    """
    given = {part: one for part, one in (("train", images), ("val", val), ("test", test)) if one is not None}
    chosen = divided(name, classes, {part: one.labels for part, one in given.items()}, seed=seed)
    parts = {
        part: given[source] if indices is None else given[source].subset(indices)
        for part, (source, indices) in chosen.items()
    }
    mean, std = statistics(parts["train"], counted)
    return Dataset(name, tuple(classes), parts["train"], parts["val"], parts["test"], mean, std, flip)


def resized(dataset: Dataset, resolution: SizeLike) -> Dataset:
    """The same images at another size, from their files where they are in files; mean and deviation are measured
    again."""
    size = Size.of(resolution)
    if size == dataset.size:
        return dataset
    train, val, test = (part.resized(size) for part in (dataset.train, dataset.val, dataset.test))
    mean, std = statistics(train)
    return replace(dataset, train=train, val=val, test=test, mean=mean, std=std)


def statistics(train: Images, counted: int = COUNTED) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, of pixels scaled to 0..1.

    Args:
        counted: so many images at most, evenly spread, are read from files; those in memory all count.
    """
    if not train.in_memory and len(train) > counted:
        train = train.subset(np.linspace(0, len(train) - 1, counted).round().astype(np.int64))
    # Counts per grey level are exact. Few images at a time: bincount makes 8 bytes of every pixel.
    levels = np.arange(256) / 255
    counts = np.zeros((train.shape[1], 256), np.int64)
    for pixels in read_ahead(train.store, in_small_batches(train.store, train.rows)):
        for channel, row in enumerate(counts):
            row += np.bincount(pixels[:, channel].ravel(), minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1)).clip(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())
