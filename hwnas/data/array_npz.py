"""An .npz file with arrays of pixels and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from hwnas.data.dataset import Dataset, Images, assemble
from hwnas.data.labels import class_labels, class_names
from hwnas.data.npz import Archive
from hwnas.data.pixels import as_pixels, as_planes, channels_and_side
from hwnas.data.resize import square
from hwnas.errors import DataError

KEYS = (
    "the keys are x and y; or x_train, y_train, x_test and y_test, with x_val and y_val if you like; or jpeg, offsets "
    "and labels; 'classes' may name the classes"
)
_WHOLE, _OFFICIAL, _VALIDATION = ("",), ("_train", "_test"), ("_train", "_val", "_test")


def dataset_of(
    name: str,
    x: Mapping[str, NDArray[Any]],
    y: Mapping[str, NDArray[Any]],
    names: Sequence[str] | None,
    *,
    where: str,
    resolution: int,
    seed: int,
    flip: bool | None = None,
) -> Dataset:
    """A data set from arrays, under one key to be split, or under those of their parts.

    Args:
        name: of the data set.
        x, y: images of shape (N, C, H, W), and labels. A key ends in `_train`, `_val` or `_test`, or is the only one;
            both have the same keys but for the first letter, in the same order.
        names: the classes, or None to take the labels that occur.
        where: where the arrays come from, for messages.
        flip: whether mirrored images keep their class; None for yes if they have colours.

    Raises:
        DataError: images or labels cannot be used.
    """
    for (key, images), (other, labels) in zip(x.items(), y.items(), strict=True):
        if images.shape[:1] != labels.shape[:1]:
            raise DataError(
                f"there must be one label per image, but in {where} {key} has shape {images.shape} and {other} has "
                f"{labels.shape}",
                hint="give one label per image",
            )
    classes, indices = class_labels(y, names, where=where)
    pixels = as_pixels(x, where=where)
    parts = {
        key.partition("_")[2]: Images(square(pixels[key], resolution), labels)
        for key, labels in zip(pixels, indices.values(), strict=True)
    }
    whole = next(iter(parts.values()))
    mirrored = whole.pixels.shape[1] == 3 if flip is None else flip
    return assemble(name, classes, whole, seed=seed, flip=mirrored, val=parts.get("val"), test=parts.get("test"))


class ArrayNpz:
    """Arrays under x and y, or in the parts of an official split."""

    def __init__(self, archive: Archive, *, name: str, names: tuple[str, ...] | None = None) -> None:
        """Look at the keys.

        Args:
            names: the classes, where the file does not have to name them.

        Raises:
            DataError: keys are missing.
        """
        keys = archive.keys
        split = "x_train" in keys or "y_train" in keys
        self._suffixes = (_VALIDATION if keys & {"x_val", "y_val"} else _OFFICIAL) if split else _WHOLE
        needed = [letter + suffix for suffix in self._suffixes for letter in "xy"]
        missing = [key for key in needed if key not in keys]
        if missing:
            raise DataError(
                f"{archive.path} lacks {', '.join(missing)}; it has {', '.join(sorted(keys)) or 'no arrays'}", hint=KEYS
            )
        self._archive, self._name, self._names = archive, name, names

    def native_shape(self) -> tuple[int, int]:
        key = "x" + self._suffixes[0]
        return channels_and_side(self._archive.shape(key), what=f"{key} of {self._archive.path}")

    def classes(self) -> tuple[str, ...]:
        return class_labels(self._labels(), self._known(), where=str(self._archive.path))[0]

    def load(self, *, resolution: int, seed: int) -> Dataset:
        where = str(self._archive.path)
        keys = [f"x{suffix}" for suffix in self._suffixes]
        x = {key: as_planes(self._archive.read(key), what=f"{key} of {where}") for key in keys}
        return dataset_of(self._name, x, self._labels(), self._known(), where=where, resolution=resolution, seed=seed)

    def _labels(self) -> dict[str, NDArray[Any]]:
        return {f"y{suffix}": self._archive.read(f"y{suffix}") for suffix in self._suffixes}

    def _known(self) -> tuple[str, ...] | None:
        return stored_classes(self._archive, self._names)


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
