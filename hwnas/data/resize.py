"""Bring arrays of images to one size."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from hwnas.data.reading import PADDING, Fit
from hwnas.errors import DataError
from hwnas.image_size import Size, SizeLike

LARGEST_BYTES = 8 * 2**30
"""No array larger than this is read or made."""

_BATCH_VALUES = 2**23  # 32 MiB of floats at a time


def room(count: int, channels: int, size: Size) -> NDArray[np.uint8]:
    """An array of shape (count, channels, height, width) to be filled.

    Raises:
        DataError: it would be larger than `LARGEST_BYTES`.
    """
    size_bytes = count * channels * size.pixels
    if size_bytes > LARGEST_BYTES:
        raise DataError(
            f"the images have to fit into {LARGEST_BYTES / 2**30:.3g} GiB, but {count} of {channels} × {size.height} × "
            f"{size.width} pixels take {size_bytes / 2**30:.3g} GiB",
            hint="choose a smaller --resolution, or fewer images",
        )
    return np.empty((count, channels, *size), dtype=np.uint8)


def fitted(images: NDArray[np.uint8], resolution: SizeLike, fit: Fit) -> NDArray[np.uint8]:
    """Pixels of shape (N, C, H, W) at `resolution`: of other shapes the centre (crop), with grey beside what is too
    short (pad), or all of it (squash).

    Bilinear with an antialias filter, so that at its own size an image stays as it is, and below it pixels are
    averaged.

    Raises:
        DataError: the result would be larger than `LARGEST_BYTES`.
    """
    size = Size.of(resolution)
    count, channels, height, width = images.shape
    inner, outer = _of_shape(size, Size(height, width))
    taken = images
    if fit == "crop":
        top, left = (height - inner.height) // 2, (width - inner.width) // 2
        taken = images[:, :, top : top + inner.height, left : left + inner.width]
    if taken.shape[2:] == size:
        return np.ascontiguousarray(taken)
    result = room(count, channels, size)
    step = max(1, _BATCH_VALUES // (channels * max(outer.pixels, size.pixels)))
    for start in range(0, count, step):
        chunk = np.ascontiguousarray(taken[start : start + step])
        if fit == "pad":
            chunk = _padded(chunk, outer)
        batch = torch.from_numpy(chunk).to(torch.float32)
        batch = interpolate(batch, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)
        result[start : start + step] = batch.round().clamp(0, 255).to(torch.uint8).numpy()
    return result


def _of_shape(shape: Size, images: Size) -> tuple[Size, Size]:
    """The largest size of this shape within images of one size, and the smallest around them."""
    height = round(images.width * shape.height / shape.width)
    width = round(images.height * shape.width / shape.height)
    if height <= images.height:
        return Size(max(1, height), images.width), Size(images.height, max(width, images.width))
    return Size(images.height, max(1, min(width, images.width))), Size(height, images.width)


def _padded(images: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    count, channels, height, width = images.shape
    canvas = np.full((count, channels, *size), PADDING, np.uint8)
    top, left = (size.height - height) // 2, (size.width - width) // 2
    canvas[:, :, top : top + height, left : left + width] = images
    return canvas
