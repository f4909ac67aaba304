"""An .npz file with encoded images one behind the other, instead of pixels."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.data.array_npz import KEYS, stored_classes
from hwnas.data.cache import cached
from hwnas.data.dataset import Dataset, Images, assemble
from hwnas.data.encoded import Shape, decode, median_shape, spread
from hwnas.data.labels import class_labels
from hwnas.data.npz import Archive
from hwnas.data.reading import Fit, Reading, ReadOptions
from hwnas.errors import DataError

_NEEDED = ("jpeg", "labels", "offsets")


class JpegNpz:
    """Image i is `jpeg[offsets[i]:offsets[i + 1]]`, in any format that a folder may have; all become RGB.

    One file is split, two are the train and the test images.
    """

    def __init__(
        self,
        *archives: Archive,
        name: str,
        names: tuple[str, ...] | None = None,
        options: ReadOptions | None = None,
    ) -> None:
        """Look at the keys.

        Args:
            names: the classes, where the files do not have to name them.
            options: the fit of images that are no squares.

        Raises:
            DataError: keys are missing.
        """
        for archive in archives:
            missing = [key for key in _NEEDED if key not in archive.keys]
            if missing:
                raise DataError(
                    f"{archive.path} lacks {', '.join(missing)}; it has {', '.join(sorted(archive.keys))}", hint=KEYS
                )
        self._archives, self._name, self._names = archives, name, names
        self._options = options or ReadOptions()
        self._where = " and ".join(str(archive.path) for archive in archives)

    def native_shape(self) -> tuple[int, int]:
        return 3, self._shape.native(self._fit)

    def classes(self) -> tuple[str, ...]:
        return self._labelled()[0]

    def load(self, *, resolution: int, seed: int) -> Dataset:
        classes, labels = self._labelled()
        for archive in self._archives if self._options.fit == "auto" else ():
            _content(archive, len(labels[str(archive.path)]))
        reading = Reading(self._fit)
        whole, *test = [
            Images(_pixels(archive, len(labels[str(archive.path)]), resolution, reading), labels[str(archive.path)])
            for archive in self._archives
        ]
        dataset = assemble(self._name, classes, whole, seed=seed, flip=True, test=test[0] if test else None)
        return replace(dataset, reading=reading)

    @property
    def _fit(self) -> Fit:
        return self._options.fit if self._options.fit != "auto" else self._options.fit_of(self._shape.aspect)

    @cached_property
    def _shape(self) -> Shape:
        archive = self._archives[0]
        jpeg, offsets = archive.read("jpeg"), _offsets(archive)
        files = [_file(jpeg, offsets, index) for index in spread(range(len(offsets) - 1))]
        return median_shape(files, where=archive.path)

    def _labelled(self) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
        names = [stored_classes(archive, self._names) for archive in self._archives]
        if len(set(names)) > 1:
            raise DataError(f"the classes of {self._where} must be the same, but they differ", hint="store them alike")
        arrays = {str(archive.path): archive.read("labels") for archive in self._archives}
        return class_labels(arrays, names[0], where=self._where)


def _pixels(archive: Archive, count: int, resolution: int, reading: Reading) -> NDArray[np.uint8]:
    """All images of a file, shape (count, 3, resolution, resolution)."""

    def fresh() -> NDArray[np.uint8]:
        jpeg, offsets = _content(archive, count)
        return decode(
            count,
            lambda index: _file(jpeg, offsets, index),
            lambda index: f"image {index}",
            resolution=resolution,
            where=archive.path,
            reading=reading,
        )

    return cached([archive.path], (count, 3, resolution, resolution), reading, fresh)


def _content(archive: Archive, count: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """The bytes of all images of a file, and where each begins and the last ends.

    Args:
        count: of the labels.
    """
    jpeg, offsets = archive.read("jpeg"), _offsets(archive)
    if len(offsets) != count + 1 or jpeg.dtype != np.uint8 or jpeg.ndim != 1 or offsets[-1] > len(jpeg):
        raise DataError(
            f"'jpeg' must be bytes, cut by one more of 'offsets' than there are 'labels', but {archive.path} has "
            f"{count} labels, {len(offsets)} offsets up to {offsets[-1]}, and jpeg of type {jpeg.dtype} and shape "
            f"{jpeg.shape}",
            hint=KEYS,
        )
    return jpeg, offsets


def _offsets(archive: Archive) -> NDArray[Any]:
    offsets = archive.read("offsets")
    if offsets.ndim != 1 or len(offsets) < 2 or offsets.dtype.kind not in "iu":
        raise DataError(
            f"'offsets' must be two whole numbers or more, but in {archive.path} they have type {offsets.dtype} and "
            f"shape {offsets.shape}",
            hint=KEYS,
        )
    if offsets[0] < 0 or np.any(offsets[1:] < offsets[:-1]):
        raise DataError(f"'offsets' must start at 0 or above and never fall, but in {archive.path} they do", hint=KEYS)
    return offsets


def _file(jpeg: NDArray[Any], offsets: NDArray[Any], index: int) -> BytesIO:
    return BytesIO(jpeg[int(offsets[index]) : int(offsets[index + 1])].tobytes())
