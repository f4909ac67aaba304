"""Look at images in arrays, as `hwnas.data.census` looks at files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwnas.data.census import THUMB, Census
from hwnas.data.resize import fitted
from hwnas.progress import Progress

_CHUNK = 1024
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def census_of_arrays(parts: Sequence[NDArray[np.uint8]], progress: Progress) -> Census:
    """A row per image, one part after the other; all of them can be read.

    Args:
        parts: pixels of shape (N, C, H, W).
    """
    count = sum(map(len, parts))
    thumbs = np.zeros((count, THUMB, THUMB), np.uint8)
    spread, grey, hashes = np.zeros(count, np.uint8), np.ones(count, np.bool_), []
    sizes: list[NDArray[np.int32]] = []
    start = 0
    with progress.track("looking at the images", count) as advance:
        for part in parts:
            sizes.append(np.full((len(part), 2), part.shape[:1:-1], np.int32))
            for first in range(0, len(part), _CHUNK):
                some = part[first : first + _CHUNK]
                rows = slice(start, start + len(some))
                thumbs[rows] = _grey(fitted(some, THUMB, "squash"))
                spread[rows] = (some.max((2, 3)) - some.min((2, 3))).max(1)
                grey[rows] = (some == some[:, :1]).all((1, 2, 3))
                hashes += [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest().encode() for image in some]
                start += len(some)
                advance(len(some))
    width, height = np.concatenate(sizes).T
    content = np.array(hashes, "S64")
    nothing = np.zeros(count, np.float64)
    return Census(
        width=width,
        height=height,
        grey=grey,
        deep=np.zeros(count, np.bool_),
        low=nothing,
        high=nothing,
        spread=spread,
        content=content,
        pixels=content,
        thumbs=thumbs,
        failed=np.zeros(0, np.int64),
        errors=np.zeros(0, np.str_),
    )


def _grey(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if images.shape[1] == 1:
        return images[:, 0]
    weights = _LUMA if images.shape[1] == 3 else np.full(images.shape[1], 1 / images.shape[1], np.float32)
    levels: NDArray[np.float32] = np.einsum("nchw,c->nhw", images.astype(np.float32), weights)
    whole: NDArray[np.float32] = np.rint(levels)
    return whole.astype(np.uint8)
