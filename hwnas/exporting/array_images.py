"""Images to classify from .npy and .npz files: what a model reads that no picture can hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.data.npz import Archive, read_npy
from hwnas.data.pixels import ORDERS, as_pixels, ranges
from hwnas.data.reading import Reading, Scale
from hwnas.data.resize import fitted
from hwnas.errors import DataError
from hwnas.image_size import Size

SUFFIXES = (".npy", ".npz")
_KEYS = ("x", "x_test", "test_images")


def array_images(path: Path, channels: int, size: Size, reading: Reading) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """Name and pixels (C, H, W) of each image of a file; of several, a name ends in its number, as in `x.npz[3]`.

    Whole numbers are 0..255, and floats are on the scale that the model was trained with. Where it does not say, floats
    are 0..1 if none of the file is above 1, else 0..255.

    Args:
        channels, size: that the model reads.
        reading: how the model's images were read.

    Raises:
        DataError: the file cannot be read, or holds no such images.
    """
    array, order = _content(path)
    planes, single = _planes(array, order, channels, size, path)
    pixels = as_pixels({path.name: planes}, _scale(planes, path, reading.scale))[path.name]
    for index, image in enumerate(fitted(pixels, size, reading.fit)):
        yield path if single else Path(f"{path}[{index}]"), image


def _scale(planes: NDArray[Any], path: Path, trained: Scale | None) -> Scale | None:
    """The scale of floats; None of other types.

    Raises:
        DataError: the array is none of images, not on the scale that the model was trained with, or could be on both.
    """
    _, high = ranges({path.name: planes}, where=str(path))[path.name]
    if planes.dtype.kind != "f":
        return None
    if trained == "0..1" and high > 1:
        raise DataError(
            f"the model was trained on floats from 0 to 1, but those of {path} go up to {high:g}",
            hint="divide them by 255, or store them as uint8",
        )
    if trained is None and high == 1 and np.isin(planes, (0, 1)).all():
        raise DataError(
            f"floats are from 0 to 1 or from 0 to 255, but all in {path} are 0 or 1, which could be either",
            hint="store grey levels as uint8 from 0 to 255, and masks as booleans",
        )
    return trained or ("0..1" if high <= 1 else "0..255")


def _content(path: Path) -> tuple[NDArray[Any], str]:
    """The array, and the order of its axes where the file says it."""
    if path.suffix.lower() == ".npy":
        return read_npy(path), ""
    archive = Archive(path)
    keys = sorted(archive.keys - {"layout"})
    found = [key for key in _KEYS if key in keys] or keys
    if not found or (found is keys and len(keys) > 1):
        raise DataError(
            f"the images of an .npz file are under {', '.join(_KEYS)}, or all that it holds, but {path} has "
            f"{', '.join(keys) or 'no arrays'}",
            hint="np.savez(path, x=images)",
        )
    return archive.read(found[0]), str(archive.read("layout")) if "layout" in archive.keys else ""


def _planes(array: NDArray[Any], order: str, channels: int, size: Size, path: Path) -> tuple[NDArray[Any], bool]:
    """The array as (N, C, H, W), and whether it is one image; what the model reads tells the axes apart."""
    single = array.ndim == 2 or (array.ndim == 3 and (channels > 1 or array.shape[-1] == 1))
    planes, found = array[None] if single else array, []
    if planes.ndim == 3 and channels == 1:
        found = [planes[:, None]]
    elif planes.ndim == 4:
        orders = zip(ORDERS, (planes, planes.transpose(0, 3, 1, 2)), strict=True)
        found = [one for name, one in orders if one.shape[1] == channels and order in ("", name)]
        found = found if len(found) < 2 else [one for one in found if one.shape[2:] == size]
    if len(found) != 1 or 0 in array.shape:
        raise DataError(
            f"the model reads images of {channels} × {size.height} × {size.width} values, but {path} has {array.shape}",
            hint=f"store them in the shape (N, {channels}, {size.height}, {size.width}), or (N, {size.height}, "
            f"{size.width}, {channels})",
        )
    return found[0], single
