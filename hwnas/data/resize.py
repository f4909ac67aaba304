"""Bring arrays of images to square pixels of one size."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from hwnas.data.reading import PADDING, Fit
from hwnas.errors import DataError

LARGEST_BYTES = 8 * 2**30
"""No array larger than this is read or made."""

_BATCH_VALUES = 2**23  # 32 MiB of floats at a time


def room(count: int, channels: int, resolution: int) -> NDArray[np.uint8]:
    """An array of shape (count, channels, resolution, resolution) to be filled.

    Raises:
        DataError: it would be larger than `LARGEST_BYTES`.
    """
    size_bytes = count * channels * resolution * resolution
    if size_bytes > LARGEST_BYTES:
        raise DataError(
            f"the images have to fit into {LARGEST_BYTES / 2**30:.3g} GiB, but {count} of {channels} × {resolution} × "
            f"{resolution} pixels take {size_bytes / 2**30:.3g} GiB",
            hint="choose a smaller --resolution, or fewer images",
        )
    return np.empty((count, channels, resolution, resolution), dtype=np.uint8)


def square(images: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Pixels of shape (N, C, H, W) as (N, C, resolution, resolution): the centre square, resized.

    Bilinear with an antialias filter, so that at its own size an image stays as it is, and below it pixels are
    averaged.

    Raises:
        DataError: the result would be larger than `LARGEST_BYTES`.
    """
    return fitted(images, resolution, "crop")


def fitted(images: NDArray[np.uint8], resolution: int, fit: Fit) -> NDArray[np.uint8]:
    """As `square`, with a choice: the centre square (crop), grey beside the shorter side (pad), or all of it (squash).

    Raises:
        DataError: as `square`.
    """
    count, channels, height, width = images.shape
    short, long = min(height, width), max(height, width)
    taken = images
    if fit == "crop":
        top, left = (height - short) // 2, (width - short) // 2
        taken = images[:, :, top : top + short, left : left + short]
    side = long if fit == "pad" else max(taken.shape[2:])
    if taken.shape[2:] == (resolution, resolution):
        return np.ascontiguousarray(taken)
    result = room(count, channels, resolution)
    step = max(1, _BATCH_VALUES // (channels * max(side, resolution) ** 2))
    for start in range(0, count, step):
        chunk = np.ascontiguousarray(taken[start : start + step])
        if fit == "pad":
            chunk = _padded(chunk, long)
        batch = torch.from_numpy(chunk).to(torch.float32)
        batch = interpolate(batch, size=(resolution, resolution), mode="bilinear", align_corners=False, antialias=True)
        result[start : start + step] = batch.round().clamp(0, 255).to(torch.uint8).numpy()
    return result


def _padded(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    count, channels, height, width = images.shape
    canvas = np.full((count, channels, side, side), PADDING, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[:, :, top : top + height, left : left + width] = images
    return canvas
