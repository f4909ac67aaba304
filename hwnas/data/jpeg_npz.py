"""An .npz file with encoded images one behind the other, instead of pixels."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.data.array_npz import KEYS, stored_classes
from hwnas.data.cache import cached
from hwnas.data.dataset import Dataset, Images, assemble
from hwnas.data.encoded import decode, median_shape, spread
from hwnas.data.found import Found
from hwnas.data.labels import class_labels
from hwnas.data.npz import Archive, Pieces
from hwnas.data.path_table import Lazy
from hwnas.data.reading import Reading
from hwnas.errors import DataError
from hwnas.image_size import Size

_NEEDED = ("jpeg", "labels", "offsets")


def found_in(archive: Archive) -> Found:
    """The images of a file: image i is `jpeg[offsets[i]:offsets[i + 1]]`, in any format that a folder may have.

    Raises:
        DataError: keys are missing, or what they hold cannot be used.
    """
    _check_keys(archive)
    arrays = {"labels": archive.read("labels")}
    classes, labels = class_labels(arrays, stored_classes(archive, None), where=str(archive.path))
    count = len(labels["labels"])
    jpeg, offsets = _content(archive, count)
    return Found(
        name=archive.path.stem,
        where=archive.path,
        classes=classes,
        names=Lazy(count, "image {}".format),
        labels=labels["labels"],
        parts={"train": count},
        open=lambda index: _file(jpeg, offsets, index),
        files=[archive.path],
    )


class JpegNpz:
    """Two such files, of train and of test images; all become RGB."""

    def __init__(self, *archives: Archive, name: str, names: tuple[str, ...] | None = None) -> None:
        """Look at the keys.

        Args:
            names: the classes, where the files do not have to name them.

        Raises:
            DataError: keys are missing.
        """
        for archive in archives:
            _check_keys(archive)
        self._archives, self._name, self._names = archives, name, names
        self._where = " and ".join(str(archive.path) for archive in archives)

    def native_shape(self) -> tuple[int, Size]:
        archive = self._archives[0]
        jpeg, offsets = archive.pieces("jpeg"), _offsets(archive)
        files = [_file(jpeg, offsets, index) for index in spread(range(len(offsets) - 1))]
        return 3, Size.square(median_shape(files, where=archive.path).short)

    def classes(self) -> tuple[str, ...]:
        return self._labelled()[0]

    def load(self, *, resolution: Size, seed: int) -> Dataset:
        classes, labels = self._labelled()
        whole, *test = [
            Images(_pixels(archive, len(labels[str(archive.path)]), resolution), labels[str(archive.path)])
            for archive in self._archives
        ]
        return assemble(self._name, classes, whole, seed=seed, flip=True, test=test[0] if test else None)

    def _labelled(self) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
        names = [stored_classes(archive, self._names) for archive in self._archives]
        if len(set(names)) > 1:
            raise DataError(f"the classes of {self._where} must be the same, but they differ", hint="store them alike")
        arrays = {str(archive.path): archive.read("labels") for archive in self._archives}
        return class_labels(arrays, names[0], where=self._where)


def _check_keys(archive: Archive) -> None:
    missing = [key for key in _NEEDED if key not in archive.keys]
    if missing:
        raise DataError(
            f"{archive.path} lacks {', '.join(missing)}; it has {', '.join(sorted(archive.keys))}", hint=KEYS
        )


def _pixels(archive: Archive, count: int, resolution: Size) -> NDArray[np.uint8]:
    """All images of a file, shape (count, 3, *resolution)."""

    def fresh() -> NDArray[np.uint8]:
        jpeg, offsets = _content(archive, count)
        return decode(
            count,
            lambda index: _file(jpeg, offsets, index),
            lambda index: f"image {index}",
            resolution=resolution,
            where=archive.path,
        )

    return cached([archive.path], (count, 3, *resolution), Reading(), fresh)


def _content(archive: Archive, count: int) -> tuple[Pieces, NDArray[Any]]:
    """The bytes of all images of a file, and where each begins and the last ends.

    Args:
        count: of the labels.
    """
    jpeg, offsets = archive.pieces("jpeg"), _offsets(archive)
    if len(offsets) != count + 1 or jpeg.dtype != np.uint8 or len(jpeg.shape) != 1 or offsets[-1] > jpeg.shape[0]:
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


def _file(jpeg: Pieces, offsets: NDArray[Any], index: int) -> BytesIO:
    return BytesIO(jpeg.read(int(offsets[index]), int(offsets[index + 1])))
