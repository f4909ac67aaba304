"""Read one image, from a file or from the bytes of one, of any size and colour model, as square RGB pixels."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")

UNREADABLE = (
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on a damaged or hostile file."""


def short_side(file: Path | BytesIO) -> int:
    """The shorter side of an image in pixels, from its header alone.

    Raises:
        one of `UNREADABLE`: the file is not an image that can be read.
    """
    with Image.open(file, formats=FORMATS) as image:
        return min(image.size)


def read(file: Path | BytesIO, *, resolution: int) -> NDArray[np.uint8]:
    """Pixels of shape (3, resolution, resolution): the centre square of the image, resized (bilinear, antialiased).

    That is the same as resizing the shorter side and cropping the centre, without the memory that a very long image
    would take in between. The EXIF orientation is applied, transparent parts become white, 16-bit grey keeps its
    high byte, CMYK and palettes become RGB.

    Raises:
        one of `UNREADABLE`: the file is not an image, is damaged, or has more pixels than Pillow's limit.
    """
    with Image.open(file, formats=FORMATS) as image:
        # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; twice the resolution is enough for the resize.
        image.draft(None, (2 * resolution, 2 * resolution))
        square = ImageOps.fit(
            as_rgb(ImageOps.exif_transpose(image)), (resolution, resolution), Image.Resampling.BILINEAR
        )
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def as_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB: what is transparent becomes white, 16-bit grey keeps its high byte."""
    if image.mode.startswith("I"):
        high_byte = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return Image.fromarray(high_byte).convert("RGB")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image.convert("RGB")
