"""Look at every encoded image once: whether it can be read, its shape, its colours, and what is equal to what."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps

from hwnas.data import image
from hwnas.data.encoded import bombs_are_errors, reason_of
from hwnas.data.found import Found
from hwnas.data.image_bytes import read_bytes
from hwnas.data.reading import Reading
from hwnas.progress import Progress

THUMB = 16
_LEAST = 64  # pixels a side that a JPEG is decoded to at least
_GREY_STEPS = 4  # how far channels of a grey JPEG may be apart by rounding
_CHUNK = 32
_MOST_CHUNKS = 4096  # what a chunk takes while it waits


@dataclass(frozen=True)
class Census:
    """A row per image. Of those in `failed`, which cannot be read, nothing else is known.

    Attributes:
        width, height: in pixels, upright.
        grey: no pixel has a colour.
        deep: one channel of more than 8 bits.
        low, high: smallest and largest value of a deep image.
        spread: largest less smallest grey level of the image, 0..255; of a deep one, in its own range.
        content: SHA-256 of the encoded bytes.
        pixels: a hash of the size and the pixels; those of a JPEG may be decoded at a fraction of its size.
        thumbs: uint8 of shape (N, 16, 16), the whole image squashed to grey levels.
        failed: rows of the images that cannot be read, ascending.
        errors: why, of each of these.
        lasting: whether those errors are of the images, and not of the moment, as a lack of permission is.
    """

    width: NDArray[np.int32]
    height: NDArray[np.int32]
    grey: NDArray[np.bool_]
    deep: NDArray[np.bool_]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    spread: NDArray[np.uint8]
    content: NDArray[np.bytes_]
    pixels: NDArray[np.bytes_]
    thumbs: NDArray[np.uint8]
    failed: NDArray[np.int64]
    errors: NDArray[np.str_]
    lasting: bool = True

    def __len__(self) -> int:
        return len(self.width)

    def kept(self) -> NDArray[np.int64]:
        """The rows of images that can be read."""
        return np.delete(np.arange(len(self)), self.failed)

    def readable(self) -> Census:
        """Those rows alone; the same object where these are all."""
        if not len(self.failed):
            return self
        kept = self.kept()
        return Census(**{name: getattr(self, name)[kept] for name in COLUMNS}, **_failures([]))


COLUMNS = {
    "width": "i4",
    "height": "i4",
    "grey": "?",
    "deep": "?",
    "low": "f8",
    "high": "f8",
    "spread": "u1",
    "content": "S64",
    "pixels": "S32",
    "thumbs": f"({THUMB},{THUMB})u1",
}
"""Of a census, what has a row per image, and its type."""


@dataclass
class _Row:
    width: int = 0
    height: int = 0
    grey: bool = False
    deep: bool = False
    low: float = 0.0
    high: float = 0.0
    spread: int = 0
    content: bytes = b""
    pixels: bytes = b""
    thumbs: NDArray[np.uint8] | int = 0


@dataclass(frozen=True)
class _Failure:
    row: int
    reason: str
    lasting: bool


def look(found: Found, *, threads: int, progress: Progress) -> Census:
    """Decode every image once, in threads; JPEGs at a fraction of their size where that is enough."""
    count = len(found.names)
    columns = {name: np.zeros(count, kind) for name, kind in COLUMNS.items()}
    step = max(_CHUNK, count // _MOST_CHUNKS)

    def rows(start: int) -> list[_Failure]:
        failures = []
        for index in range(start, min(start + step, count)):
            row = _look_at(found.open, index)
            if isinstance(row, _Failure):
                failures.append(row)
            else:
                for name, column in columns.items():
                    column[index] = getattr(row, name)
        return failures

    failures: list[_Failure] = []
    with (
        bombs_are_errors(),
        progress.track("looking at the images", count) as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        starts = range(0, count, step)
        for start, some in zip(starts, pool.map(rows, starts), strict=True):
            failures += some
            advance(min(step, count - start))
    return Census(**columns, **_failures(failures), lasting=all(one.lasting for one in failures))


def _failures(failures: Sequence[_Failure]) -> dict[str, Any]:
    """The last columns of a census."""
    return {
        "failed": np.array([one.row for one in failures], np.int64),
        "errors": np.array([one.reason for one in failures], np.str_),
    }


def whole_pixels(source: Path | BytesIO) -> bytes:
    """A hash of every pixel of an image, in RGB.

    Raises:
        one of `image.UNREADABLE`: the file cannot be read.
    """
    data = BytesIO(read_bytes(source)) if isinstance(source, Path) else source
    with bombs_are_errors(), Image.open(data, formats=image.FORMATS) as opened:
        return _hash(np.asarray(image.as_rgb(ImageOps.exif_transpose(opened))), opened.size)


def _look_at(open_: Callable[[int], Path | BytesIO], index: int) -> _Row | _Failure:
    source, data = Path(), BytesIO()
    try:
        opened = open_(index)
        if isinstance(opened, Path):
            source, data = opened, BytesIO(read_bytes(opened))
        else:
            data = opened
        row = _decoded(data)
        row.content = hashlib.sha256(data.getbuffer()).hexdigest().encode()
        return row
    except image.UNREADABLE as error:
        reason = reason_of(error, data).replace(repr(str(source)), "the file")
        return _Failure(index, reason, lasting=not (isinstance(error, OSError) and error.errno))


def _decoded(source: BytesIO) -> _Row:
    with Image.open(source, formats=image.FORMATS) as opened:
        size, full = image.upright(opened), opened.size
        opened.draft(None, (_LEAST, _LEAST))
        row = _Row(*size, deep=image.is_deep(opened))
        if row.deep:
            values = np.asarray(opened)
            row.low, row.high = float(np.nanmin(values)), float(np.nanmax(values))
            row.pixels, row.grey = _hash(np.ascontiguousarray(values), full), True
            own = Reading(low=row.low, high=max(row.high, row.low + 1))
            plain = ImageOps.exif_transpose(Image.fromarray(image.as_bytes(values, own)))
            row.spread = min(255, int(row.high - row.low)) if float(row.high).is_integer() else 255
        else:
            grey_mode = opened.mode in ("1", "L", "LA")
            colour = image.as_rgb(ImageOps.exif_transpose(opened))
            row.pixels = _hash(np.asarray(colour), full)
            row.grey = grey_mode or _is_grey(colour)
            plain = colour.convert("L")
            row.spread = max(_extent(band) for band in colour.split())
        row.thumbs = np.asarray(plain.resize((THUMB, THUMB), Image.Resampling.BILINEAR), np.uint8)
        return row


def _is_grey(colour: Image.Image) -> bool:
    red, green, blue = colour.split()
    return all(_highest(ImageChops.difference(red, other)) <= _GREY_STEPS for other in (green, blue))


def _extent(band: Image.Image) -> int:
    low, high = band.getextrema()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return int(high - low)


def _highest(band: Image.Image) -> int:
    high = band.getextrema()[1]
    assert isinstance(high, int | float)
    return int(high)


def _hash(pixels: NDArray[np.generic], size: tuple[int, int]) -> bytes:
    total = hashlib.blake2b(f"{size} {pixels.shape} {pixels.dtype}".encode(), digest_size=16)
    total.update(np.ascontiguousarray(pixels).data)
    return total.hexdigest().encode()
