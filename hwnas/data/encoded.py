"""Decode many image files at once."""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hwnas.data import image
from hwnas.data.image_bytes import read_bytes
from hwnas.data.reading import Fit, Reading
from hwnas.data.resize import room
from hwnas.display import counted, few
from hwnas.errors import DataError
from hwnas.image_size import Size

T = TypeVar("T")
PROBED = 50
_CHUNK = 16  # a future per image costs 40 % of decoding a small one


def decode(
    count: int,
    file: Callable[[int], Path | BytesIO],
    label: Callable[[int], str],
    *,
    resolution: Size,
    where: Path,
    reading: Reading | None = None,
) -> NDArray[np.uint8]:
    """`count` images as RGB pixels of shape (count, 3, *resolution).

    Args:
        file: the encoded image of an index.
        label: what to call the image of an index in messages.
        where: what holds them all, for messages.
        reading: the fit, and the range of images of more than 8 bits.

    Raises:
        DataError: images cannot be read; the message names them.
    """
    pixels = room(count, 3, resolution)

    def read(start: int) -> list[str]:
        failures = []
        for index in range(start, min(start + _CHUNK, count)):
            source = file(index)
            try:
                pixels[index] = image.read(source, resolution=resolution, reading=reading)
            except image.UNREADABLE as error:
                failures.append(f"{label(index)} ({reason_of(error, source)})")
        return failures

    # Pillow decodes without the GIL but parses headers with it: on two cores, a second thread took 32-pixel JPEGs from
    # 2.3 to 2.2 s per 10,000, and 640 × 480 ones from 1.4 to 1.3 ms each. More cores may gain more; 8 threads will do.
    with bombs_are_errors(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        failures = [failure for found in pool.map(read, range(0, count, _CHUNK)) for failure in found]
    if failures:
        raise DataError(
            f"{len(failures)} of {count} images in {where} cannot be read: {few(failures)}",
            hint="replace or remove these files",
        )
    return pixels


def reason_of(error: BaseException, source: Path | BytesIO) -> str:
    """Why an image cannot be read, without its name."""
    if isinstance(error, UnidentifiedImageError):
        empty = isinstance(source, BytesIO) and not source.getbuffer()
        return "the file is empty" if empty else "cannot identify the kind of image"
    shown = repr(str(source)) if isinstance(source, Path) else repr(source)
    return str(error).replace(shown, "the file") or type(error).__name__


def spread(items: Sequence[T]) -> Sequence[T]:
    """Up to 50 of the items, at even distances."""
    return items[:: -(-len(items) // PROBED)]


@dataclass(frozen=True)
class Shape:
    """Of several images, upright."""

    sizes: tuple[Size, ...]

    @property
    def short(self) -> int:
        """Median of the shorter side, in pixels."""
        return int(statistics.median(size.short for size in self.sizes))

    @property
    def long(self) -> int:
        """Median of the longer side, in pixels."""
        return int(statistics.median(size.long for size in self.sizes))

    def mismatch(self, target: Size) -> float:
        """Median factor by which an image is longer in shape than `target`, or shorter."""
        return float(statistics.median(size.mismatch(target) for size in self.sizes))

    def native(self, fit: Fit) -> int:
        """Side in pixels of a square that keeps as much as the images have."""
        return self.short if fit == "crop" else self.long if fit == "pad" else round(math.sqrt(self.short * self.long))


def median_shape(files: Sequence[Path | BytesIO], *, where: Path) -> Shape:
    """The shape of encoded images; only headers are read.

    Raises:
        DataError: none of them can be read.
    """
    sizes = []
    with bombs_are_errors():
        for file in files:
            with contextlib.suppress(*image.UNREADABLE):
                data = BytesIO(read_bytes(file)) if isinstance(file, Path) else file
                width, height = image.shown_size(data)
                sizes.append(Size(height, width))
    if not sizes:
        raise DataError(
            f"none of {counted(len(files), 'image')} tried in {where} can be read", hint=f"accepted are {image.KINDS}"
        )
    return Shape(tuple(sizes))


@contextlib.contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Refuse images above `PIL.Image.MAX_IMAGE_PIXELS`, where Pillow alone only warns up to twice as many."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
