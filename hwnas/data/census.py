"""Look at every encoded image once: whether it can be read, its shape, its colours, and what is equal to what."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from io import BytesIO
from pathlib import Path

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


@dataclass(frozen=True)
class Census:
    """A row per image. Where `errors` is not empty, the image cannot be read, and nothing else is known of it.

    Attributes:
        width, height: in pixels, upright.
        grey: no pixel has a colour.
        deep: one channel of more than 8 bits.
        low, high: smallest and largest value of a deep image.
        spread: largest less smallest grey level of the image, 0..255; of a deep one, in its own range.
        content: SHA-256 of the encoded bytes.
        pixels: a hash of the size and the pixels; those of a JPEG may be decoded at a fraction of its size.
        thumbs: uint8 of shape (N, 16, 16), the whole image squashed to grey levels.
        errors: why an image cannot be read.
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
    errors: NDArray[np.str_]
    lasting: bool = True

    def __len__(self) -> int:
        return len(self.errors)

    def subset(self, chosen: NDArray[np.bool_]) -> Census:
        """The rows of these images."""
        columns = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "lasting"}
        return replace(self, **{name: column[chosen] for name, column in columns.items()})


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
    thumb: NDArray[np.uint8] | None = None
    error: str = ""
    lasting: bool = True


def look(found: Found, *, threads: int, progress: Progress) -> Census:
    """Decode every image once, in threads; JPEGs at a fraction of their size where that is enough."""
    count = len(found.names)

    def rows(start: int) -> list[_Row]:
        return [_look_at(found.open, index) for index in range(start, min(start + _CHUNK, count))]

    listed: list[_Row] = []
    with (
        bombs_are_errors(),
        progress.track("looking at the images", count) as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        for some in pool.map(rows, range(0, count, _CHUNK)):
            listed += some
            advance(len(some))
    blank = np.zeros((THUMB, THUMB), np.uint8)
    return Census(
        width=np.array([row.width for row in listed], np.int32),
        height=np.array([row.height for row in listed], np.int32),
        grey=np.array([row.grey for row in listed], np.bool_),
        deep=np.array([row.deep for row in listed], np.bool_),
        low=np.array([row.low for row in listed], np.float64),
        high=np.array([row.high for row in listed], np.float64),
        spread=np.array([row.spread for row in listed], np.uint8),
        content=np.array([row.content.hex() for row in listed], "S64"),
        pixels=np.array([row.pixels.hex() for row in listed], "S32"),
        thumbs=np.array([blank if row.thumb is None else row.thumb for row in listed], np.uint8),
        errors=np.array([row.error for row in listed], np.str_),
        lasting=all(row.lasting for row in listed),
    )


def whole_pixels(source: Path | BytesIO) -> bytes:
    """A hash of every pixel of an image, in RGB.

    Raises:
        one of `image.UNREADABLE`: the file cannot be read.
    """
    data = BytesIO(read_bytes(source)) if isinstance(source, Path) else source
    with bombs_are_errors(), Image.open(data, formats=image.FORMATS) as opened:
        return _hash(np.asarray(image.as_rgb(ImageOps.exif_transpose(opened))), opened.size)


def _look_at(open_: Callable[[int], Path | BytesIO], index: int) -> _Row:
    source, data = Path(), BytesIO()
    try:
        opened = open_(index)
        if isinstance(opened, Path):
            source, data = opened, BytesIO(read_bytes(opened))
        else:
            data = opened
        row = _decoded(data)
        row.content = hashlib.sha256(data.getbuffer()).digest()
        return row
    except image.UNREADABLE as error:
        reason = reason_of(error, data).replace(repr(str(source)), "the file")
        return _Row(error=reason, lasting=not (isinstance(error, OSError) and error.errno))


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
        row.thumb = np.asarray(plain.resize((THUMB, THUMB), Image.Resampling.BILINEAR), np.uint8)
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
    return total.digest()
