"""Bring arrays of images to square pixels of one size."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

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
    count, channels, height, width = images.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cropped = images[:, :, top : top + side, left : left + side]
    if side == resolution:
        return np.ascontiguousarray(cropped)
    result = room(count, channels, resolution)
    step = max(1, _BATCH_VALUES // (channels * max(side, resolution) ** 2))
    for start in range(0, count, step):
        batch = torch.from_numpy(np.ascontiguousarray(cropped[start : start + step])).to(torch.float32)
        batch = interpolate(batch, size=(resolution, resolution), mode="bilinear", align_corners=False, antialias=True)
        result[start : start + step] = batch.round().clamp(0, 255).to(torch.uint8).numpy()
    return result
