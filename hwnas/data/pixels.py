"""From arrays of images in any usual shape and type to uint8 pixels of shape (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.data.reading import Scale
from hwnas.errors import DataError
from hwnas.image_size import Size

ORDERS = ("NCHW", "NHWC")
MOST_CHANNELS = 512
FEW = "1, 3, or at most half as many channels as the shorter side has pixels"
_USUAL = (1, 3)
_SAY = f"say which axis has the channels by an array layout in the file: {' or '.join(ORDERS)}"
_CHUNK_VALUES = 2**22


def layout(shape: tuple[int, ...], *, what: str, order: str = "") -> tuple[int, ...]:
    """The axes of an array in the order N, C, H, W, without C where there is none.

    Without an order, the axis with 1 or 3 entries has the channels; where neither has, the one that has at most half as
    many as the shorter side has pixels.

    Args:
        order: one of `ORDERS`, where the file says so.

    Raises:
        DataError: the shape is not that of images, or could be read in two ways.
    """
    if len(shape) == 3 and min(shape) > 0:
        return (0, 1, 2)
    first, last = (0, 1, 2, 3), (0, 3, 1, 2)
    if len(shape) != 4 or 0 in shape:
        raise DataError(
            f"images must have shape (N, H, W), (N, H, W, C) or (N, C, H, W), but {what} has {shape}",
            hint="store at least one image",
        )
    found = [first if order == ORDERS[0] else last] if order in ORDERS else []
    found = found or [axes for axes in (first, last) if shape[axes[1]] in _USUAL]
    found = found or [axes for axes in (first, last) if has_channels(*(shape[axis] for axis in axes[1:]))]
    if not found:
        raise DataError(f"images of shape (N, H, W, C) or (N, C, H, W) have {FEW}, but {what} has {shape}", hint=_SAY)
    if len(found) > 1:
        raise DataError(f"channels may come first or last, but in the shape {shape} of {what} both could be", hint=_SAY)
    if shape[found[0][1]] > MOST_CHANNELS:
        raise DataError(
            f"images have at most {MOST_CHANNELS} channels, but {what} has {shape[found[0][1]]}",
            hint="leave some of them out, or average neighbours",
        )
    return found[0]


def has_channels(count: int, height: int, width: int) -> bool:
    """Whether an axis is taken for that of channels: `FEW`."""
    return count in _USUAL or 0 < 2 * count <= min(height, width)


def channels_and_size(shape: tuple[int, ...], *, what: str, order: str = "") -> tuple[int, Size]:
    """(channels, size) of an array of images.

    Raises:
        DataError: as `layout`.
    """
    axes = layout(shape, what=what, order=order)
    return shape[axes[1]] if len(axes) == 4 else 1, Size(shape[axes[-2]], shape[axes[-1]])


def as_planes(array: NDArray[Any], *, what: str, order: str = "") -> NDArray[Any]:
    """A view of the array as (N, C, H, W).

    Raises:
        DataError: as `layout`.
    """
    axes = layout(array.shape, what=what, order=order)
    return array.transpose(axes) if len(axes) == 4 else array[:, None]


def scale_of(planes: Mapping[str, NDArray[Any]], *, where: str) -> Scale | None:
    """The one scale of the floats among images of shape (N, C, H, W), by key; None where they do not tell.

    Booleans are black and white, and whole numbers 0..255. Floats are 0..1 if none of them is above 1, else 0..255.

    Args:
        where: the file that the arrays come from, for messages.

    Raises:
        DataError: as `ranges`; or arrays are on different scales, or all but black.
    """
    found = ranges(planes, where=where)
    floats = [found[key][1] for key, plane in planes.items() if plane.dtype.kind == "f"]
    whole = [found[key][1] for key, plane in planes.items() if plane.dtype.kind in "iu"]
    if not floats and whole and max(whole) == 1:
        raise DataError(
            f"whole numbers are grey levels from 0 to 255, but the largest in {where} is 1: all but black",
            hint="store masks as booleans, or multiply them by 255",
        )
    if any(0 < high <= 1 for high in floats) and (max(floats) > 1 or any(whole)):
        listed = ", ".join(
            f"{key} ({planes[key].dtype}) goes from {low:g} to {high:g}" for key, (low, high) in found.items()
        )
        raise DataError(
            f"all images must be on one scale, but in {where} {listed}",
            hint="store all as uint8 from 0 to 255, or all as floats from 0 to 1",
        )
    return None if not any(floats) else "0..1" if max(floats) <= 1 else "0..255"


def as_pixels(planes: Mapping[str, NDArray[Any]], scale: Scale | None) -> dict[str, NDArray[np.uint8]]:
    """Images of shape (N, C, H, W), by key, as uint8 pixels.

    Args:
        scale: of the floats, as `scale_of` found it.
    """
    factors = {key: 255.0 if plane.dtype.kind == "f" and scale == "0..1" else 1.0 for key, plane in planes.items()}
    return {key: _rounded(plane, factors[key]) for key, plane in planes.items()}


def ranges(planes: Mapping[str, NDArray[Any]], *, where: str) -> dict[str, tuple[float, float]]:
    """The smallest and largest value of each array of images, shape (N, C, H, W).

    Raises:
        DataError: a type that is not that of images, values that are not finite or out of range, or arrays with
            different channels.
    """
    channels = {key: plane.shape[1] for key, plane in planes.items()}
    if len(set(channels.values())) > 1:
        listed = ", ".join(f"{key} has {count}" for key, count in channels.items())
        raise DataError(f"all images must have the same channels, but in {where} {listed}", hint="make them alike")
    if not {plane.dtype.kind for plane in planes.values()} <= set("biuf"):
        types = ", ".join(str(plane.dtype) for plane in planes.values())
        raise DataError(
            f"pixels must be uint8, boolean or floating point, but in {where} they have type {types}",
            hint="store them as x.astype(np.uint8)",
        )
    return {key: _range(plane, f"{key} of {where}") for key, plane in planes.items()}


def _range(plane: NDArray[Any], what: str) -> tuple[float, float]:
    """The smallest and largest of values that are finite and within 0..255."""
    if plane.dtype.kind == "f":
        counts = [(~np.isfinite(chunk)).sum(axis=(1, 2, 3)) for chunk in _chunks(plane)]
        bad = np.concatenate(counts)
        if bad.any():
            raise DataError(
                f"pixels must be finite numbers, but {what} has {int(bad.sum())} that are not, in "
                f"{np.count_nonzero(bad)} of {len(bad)} images",
                hint="look at the images with ~np.isfinite(x)",
            )
    low, high = float(plane.min()), float(plane.max())
    if low < 0 or high > 255:
        raise DataError(
            f"pixels must lie within 0..255, or 0..1 for floats, but those of {what} go from {low:g} to {high:g}",
            hint="store them as they were before normalisation, or as (x - x.min()) / (x.max() - x.min())",
        )
    return low, high


def _rounded(plane: NDArray[Any], factor: float) -> NDArray[np.uint8]:
    if plane.dtype == np.uint8 and factor == 1:
        return plane
    if plane.dtype.kind == "b":
        return plane.astype(np.uint8) * np.uint8(255)
    result = np.empty(plane.shape, np.uint8)
    start = 0
    for chunk in _chunks(plane):
        values: NDArray[Any] = chunk.astype(np.float32 if chunk.dtype.itemsize <= 4 else np.float64)
        result[start : start + len(chunk)] = np.rint(np.multiply(values, factor))
        start += len(chunk)
    return result


def _chunks(plane: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """A few images at a time, so that intermediate results stay small."""
    step = max(1, _CHUNK_VALUES // (plane[0].size or 1))
    for start in range(0, len(plane), step):
        yield plane[start : start + step]
