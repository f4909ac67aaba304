"""An .npz file with arrays of pixels and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.data.array_census import census_of_arrays
from hwnas.data.dataset import Dataset, Images, assemble
from hwnas.data.encoded import Shape
from hwnas.data.found import PARTS, Found
from hwnas.data.labels import class_labels, class_names
from hwnas.data.npz import Archive
from hwnas.data.path_table import chained
from hwnas.data.pixels import ORDERS, as_pixels, as_planes, channels_and_size, scale_of
from hwnas.data.reading import Fit, Reading, ReadOptions
from hwnas.data.resize import fitted
from hwnas.data.survey import Survey
from hwnas.data.taken import taken
from hwnas.errors import DataError
from hwnas.image_size import Size
from hwnas.progress import Progress, Silent

KEYS = (
    "the keys are x and y; or x_train, y_train, x_test and y_test, with x_val and y_val if you like; or train_images, "
    "train_labels, and so on, as MedMNIST has them; or jpeg, offsets and labels; 'classes' may name the classes, and "
    "'layout' say NCHW or NHWC"
)
_PARTS = ("train", "val", "test")


def dataset_of(
    name: str,
    x: Mapping[str, NDArray[Any]],
    y: Mapping[str, NDArray[Any]],
    names: Sequence[str] | None,
    *,
    where: str,
    resolution: Size,
    seed: int,
    flip: bool | None = None,
    fit: Fit = "crop",
) -> Dataset:
    """A data set from arrays, under one key to be split, or under those of their parts.

    Args:
        name: of the data set.
        x, y: images of shape (N, C, H, W), and labels. A key ends in `_train`, `_val` or `_test`, or begins with
            `train_`, `val_` or `test_`, or is the only one; both have the same parts, in the same order.
        names: the classes, or None to take the labels that occur.
        where: where the arrays come from, for messages.
        flip: whether mirrored images keep their class; None for yes if they have colours.
        fit: of images of another shape.

    Raises:
        DataError: images or labels cannot be used.
    """
    _check_counts(x, y, where)
    classes, indices = class_labels(y, names, where=where)
    scale = scale_of(x, where=where)
    pixels = as_pixels(x, scale)
    parts = {
        _part_of_key(key): Images(fitted(pixels[key], resolution, fit), labels)
        for key, labels in zip(pixels, indices.values(), strict=True)
    }
    whole = next(iter(parts.values()))
    mirrored = whole.shape[1] == 3 if flip is None else flip
    dataset = assemble(name, classes, whole, seed=seed, flip=mirrored, val=parts.get("val"), test=parts.get("test"))
    return replace(dataset, reading=Reading(fit, scale=scale))


def _check_counts(x: Mapping[str, NDArray[Any]], y: Mapping[str, NDArray[Any]], where: str) -> None:
    for (key, images), (other, labels) in zip(x.items(), y.items(), strict=True):
        if images.shape[:1] != labels.shape[:1]:
            raise DataError(
                f"there must be one label per image, but in {where} {key} has shape {images.shape} and {other} has "
                f"{labels.shape}",
                hint="give one label per image",
            )


def _part_of_key(key: str) -> str:
    first, _, last = key.partition("_")
    return first if first in _PARTS else last


class ArrayNpz:
    """Arrays under x and y, or in the parts of an official split."""

    def __init__(
        self,
        archive: Archive,
        *,
        name: str,
        names: tuple[str, ...] | None = None,
        options: ReadOptions | None = None,
    ) -> None:
        """Look at the keys.

        Args:
            names: the classes, where the file does not have to name them.
            options: how images are fitted and mirrored; None for a set that is known, which need not be looked at.

        Raises:
            DataError: keys are missing.
        """
        keys = archive.keys
        medical = "train_images" in keys
        x, y = ("{}_images", "{}_labels") if medical else ("x_{}", "y_{}")
        split = medical or bool(keys & {"x_train", "y_train"})
        parts = [part for part in _PARTS if part == "train" or {x.format(part), y.format(part)} & keys]
        if split and not medical and "test" not in parts:
            parts.append("test")
        self._keys = [(x.format(part), y.format(part)) for part in parts] if split else [("x", "y")]
        missing = [key for pair in self._keys for key in pair if key not in keys]
        if missing:
            raise DataError(
                f"{archive.path} lacks {', '.join(missing)}; it has {', '.join(sorted(keys)) or 'no arrays'}", hint=KEYS
            )
        self._archive, self._name, self._names, self._options = archive, name, names, options

    def native_shape(self) -> tuple[int, Size]:
        channels, shape = self._shape()
        return channels, self._kept() or Size.square(shape.native(self._fit()))

    def classes(self) -> tuple[str, ...]:
        return class_labels(self._labels(), self._known(), where=str(self._archive.path))[0]

    def load(self, *, resolution: Size, seed: int) -> Dataset:
        survey = self.survey(seed=seed, progress=Silent())
        return dataset_of(
            self._name,
            self._planes(),
            self._labels(),
            self._known(),
            where=str(self._archive.path),
            resolution=resolution,
            seed=seed,
            flip=None if survey is None else survey.mirroring.flip,
            fit=self._fit(),
        )

    def survey(self, *, seed: int, progress: Progress) -> Survey | None:
        """What the images are like; None of a set that is known.

        Raises:
            DataError: they cannot be used.
        """
        if self._options is None:
            return None
        where = str(self._archive.path)
        planes, named = self._planes(), self._labels()
        _check_counts(planes, named, where)
        classes, labels = class_labels(named, self._known(), where=where)
        pixels = as_pixels(planes, scale_of(planes, where=where))
        keys = list(pixels)
        found = Found(
            name=self._name,
            where=self._archive.path,
            classes=classes,
            names=chained(list(map(len, pixels.values())), lambda part, index: f"{keys[part]}[{index}]"),
            labels=np.concatenate(list(labels.values())),
            parts={
                part: len(labels[y]) for part in PARTS for _, y in self._keys if (_part_of_key(y) or "train") == part
            },
            open=lambda index: self._archive.path,
            files=[self._archive.path],
        )
        channels, shape = self._shape()
        census = census_of_arrays(list(pixels.values()), progress)
        kept = self._kept()
        own = self._options if kept is None else replace(self._options, size=kept)
        return taken(
            found,
            census,
            own,
            seed=seed,
            shape=shape,
            reading=Reading(self._fit()),
            channels=channels,
            notes=[] if kept is None else [kept_note(kept)],
        )[0]

    @cached_property
    def _order(self) -> str:
        """Of the axes, where the file says it.

        Raises:
            DataError: it says something else.
        """
        if "layout" not in self._archive.keys:
            return ""
        said = str(self._archive.read("layout"))
        if said not in ORDERS:
            raise DataError(
                f"the array layout must be {' or '.join(ORDERS)}, but in {self._archive.path} it is {said[:40]!r}",
                hint="np.savez(path, x=x, y=y, layout='NHWC')",
            )
        return said

    def _shape(self) -> tuple[int, Shape]:
        """Channels, and the shapes of the images of all parts."""
        found = [
            channels_and_size(self._archive.shape(key), what=f"{key} of {self._archive.path}", order=self._order)
            for key, _ in self._keys
        ]
        return found[0][0], Shape(tuple(size for _, size in found))

    def _kept(self) -> Size | None:
        """The one shape of all images, where it is no square and neither another size nor a fit is asked for."""
        options, sizes = self._options or ReadOptions(), set(self._shape()[1].sizes)
        (size, *others) = sizes
        return None if others or size.is_square or options.size or options.fit != "auto" else size

    def _fit(self) -> Fit:
        options = self._options or ReadOptions()
        return options.fit_of(self._shape()[1].mismatch(self._kept() or options.target))

    def _planes(self) -> dict[str, NDArray[Any]]:
        return {
            key: as_planes(self._archive.read(key), what=f"{key} of {self._archive.path}", order=self._order)
            for key, _ in self._keys
        }

    def _labels(self) -> dict[str, NDArray[Any]]:
        return {key: self._archive.read(key) for _, key in self._keys}

    def _known(self) -> tuple[str, ...] | None:
        return stored_classes(self._archive, self._names)


def kept_note(size: Size) -> str:
    """That arrays of one shape keep it, for the plan."""
    return f"all images are {size} (height x width), and keep that shape; --fit makes squares of them"


def stored_classes(archive: Archive, expected: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names in the array `classes`, or else `expected`.

    Raises:
        DataError: the file names other classes than expected.
    """
    if "classes" not in archive.keys:
        return expected
    names = class_names(archive.read("classes"), where=str(archive.path))
    if expected is not None and names != expected:
        raise DataError(
            f"the classes must be {', '.join(expected)}, but {archive.path} has {', '.join(names)}",
            hint="to use that file as it is, give its path as the source",
        )
    return names
