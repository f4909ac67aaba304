"""Take images from a `torch.utils.data.Dataset`, such as those of torchvision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hwnas.data.array_npz import dataset_of
from hwnas.data.dataset import Dataset
from hwnas.data.image import as_rgb
from hwnas.data.pixels import FEW, has_channels
from hwnas.data.resize import LARGEST_BYTES, fitted, room
from hwnas.errors import DataError, InputError
from hwnas.image_size import Size, SizeLike


def from_torch(
    train: Any,
    test: Any = None,
    *,
    name: str,
    classes: Sequence[str] | None = None,
    resolution: SizeLike | None = None,
    seed: int = 0,
    flip: bool = False,
) -> Dataset:
    """Read every item of one or two map-style torch data sets, once.

    An item is (image, label). An image is a PIL image, a tensor of shape (C, H, W) or (H, W), or a numpy array of shape
    (H, W, C) or (H, W), as `Dataset.__getitem__` or its `transform` gives it; leave random transforms and normalisation
    out. A label is a whole number or text.

    Args:
        train: the images to train on; without `test` they are split into train, validation and test by `seed`, else
            into train and validation.
        test: the test images.
        name: of the data set.
        classes: their names, by label; None for the labels themselves.
        resolution: the side of a square, or a size such as `96x160`; None for the size of the first image, of PIL
            images the square of its shorter side.
        seed: of the split.
        flip: whether a mirrored image (left-right) keeps its class.

    Raises:
        InputError: an argument is no map-style data set, or the resolution is no size.
        DataError: an item is not as described, or the images or labels cannot be used.
    """
    size = None if resolution is None else Size.of(resolution)
    images, labels = _read(train, f"train of {name}", size)
    size = size or Size(*images.shape[2:])
    x, y = {"x_train": images}, {"y_train": labels}
    if test is not None:
        x["x_test"], y["y_test"] = _read(test, f"test of {name}", size)
    return dataset_of(name, x, y, classes, where=name, resolution=size, seed=seed, flip=flip)


def _read(data: Any, what: str, size: Size | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images of shape (N, C, H, W) and labels of shape (N,).

    Grey levels are brought to `size` one by one; floats are kept as they are, because their scale is known only
    when all of them are.
    """
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, str | dict):
        raise InputError(
            f"{what} must be a map-style data set, with a length and items by index, but it is a {type(data).__name__}",
            hint="an iterable data set has to be made a list first",
        )
    count = len(data)
    if count == 0:
        raise DataError(f"{what} has no images", hint="give a data set with at least 3 images per class")
    pixels: NDArray[Any] = np.empty(0)
    labels = []
    for index in range(count):
        item = data[index]
        image, label = _item(item, f"item {index} of {what}")
        if size is None:
            size = Size(*image.shape[1:])
            size = Size.square(size.short) if isinstance(item[0], Image.Image) else size
        if index == 0:
            pixels = _room(count, image, size, what)
        grey = image.dtype == np.uint8
        if image.dtype != pixels.dtype or image.shape[: 1 if grey else 3] != pixels.shape[1 : 2 if grey else 4]:
            raise DataError(
                f"images must be alike, but item {index} of {what} has type {image.dtype} and shape {image.shape} "
                f"(channels, height, width), unlike the first",
                hint="uint8 images may differ in height and width, others in nothing",
            )
        pixels[index] = fitted(image[None], size, "crop")[0] if grey else image
        labels.append(label)
    if len({isinstance(label, str) for label in labels}) > 1:
        raise DataError(
            f"labels must all be numbers or all be text, but those of {what} are mixed", hint="make them alike"
        )
    return pixels, np.array(labels)


def _item(item: Any, what: str) -> tuple[NDArray[Any], Any]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(
            f"an item must be (image, label), but {what} is a {type(item).__name__}",
            hint="wrap it in one that gives such pairs",
        )
    image, label = item
    if isinstance(label, torch.Tensor | np.generic | np.ndarray):
        label = label.item() if math.prod(label.shape) == 1 else None
    if not isinstance(label, int | float | str):
        raise DataError(f"a label must be a whole number or text, but that of {what} is not", hint="give its index")
    planes = _planes(image)
    if planes is None or planes.ndim != 3 or not has_channels(*planes.shape) or 0 in planes.shape:
        shape = "" if planes is None else f" of shape {tuple(image.shape)}"
        raise DataError(
            f"an image must be a PIL image, a tensor (C, H, W) or an array (H, W, C), with {FEW}, but that of "
            f"{what} is a {type(image).__name__}{shape}",
            hint="convert it in the data set's transform",
        )
    return planes, label


def _planes(image: Any) -> NDArray[Any] | None:
    """The image as (C, H, W), or None if it is no image; booleans become 0 and 255."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        array: NDArray[Any] = (image.float() if image.is_floating_point() else image).numpy()
        array = array[None] if array.ndim == 2 else array
    elif isinstance(image, Image.Image | np.ndarray):
        if isinstance(image, Image.Image):
            image = np.asarray(image.convert("L") if image.mode in ("1", "L") else as_rgb(image))
        array = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    else:
        return None
    return array.astype(np.uint8) * np.uint8(255) if array.dtype == np.bool_ else array


def _room(count: int, image: NDArray[Any], size: Size, what: str) -> NDArray[Any]:
    if image.dtype == np.uint8:
        return room(count, image.shape[0], size)
    if count * image.nbytes > LARGEST_BYTES:
        raise DataError(
            f"the images have to fit into {LARGEST_BYTES / 2**30:.3g} GiB, but {count} of {image.nbytes} bytes in "
            f"{what} do not",
            hint="give uint8 images instead of floats, or fewer or smaller ones",
        )
    return np.empty((count, *image.shape), image.dtype)
