"""Read one image, from a file or from the bytes of one, of any size and colour model, as RGB pixels of one size."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

from hwnas.data.reading import PADDING, Reading
from hwnas.image_size import Size, SizeLike

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
"""Read where pillow-heif is installed."""

_FORMATS = {
    "JPEG": ".jpg .jpeg .jpe .jfif",
    "PNG": ".png .apng",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "DIB": ".dib",
    "GIF": ".gif",
    "TIFF": ".tif .tiff",
    "PPM": ".ppm .pgm .pbm .pnm",
    "JPEG2000": ".jp2 .j2k",
    "TGA": ".tga",
    "PCX": ".pcx",
    "SGI": ".sgi",
    "QOI": ".qoi",
    "ICO": ".ico",
}
"""Formats of pictures, none of which starts another program, with the suffixes of their files; of icons the largest is
read."""

KINDS = "JPEG, PNG, WebP, BMP, GIF, TIFF, PPM, JPEG 2000, TGA, PCX, SGI, QOI, ICO, and AVIF and HEIC where installed"

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

_SPARE = 4
"""A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size where each side keeps so many times the pixels wanted of it."""

_ORIENTATION = 0x0112  # in EXIF; from 5 on, width and height change places

# Of damaged EXIF data in an image that can be read. Filters are of the process, and images are read by threads.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")


def _heif() -> bool:
    """Whether HEIC files can be read; from then on Pillow reads them."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        return True
    return False


_OPTIONAL = {"HEIF": sorted(HEIF_SUFFIXES)} if _heif() else {}
_OPTIONAL |= {"AVIF": [".avif"]} if "avif" in features.modules and features.check("avif") else {}
FORMATS = (*_FORMATS, *_OPTIONAL)
SUFFIXES = frozenset(suffix for text in _FORMATS.values() for suffix in text.split()) | {
    suffix for suffixes in _OPTIONAL.values() for suffix in suffixes
}


def shown_size(file: Path | BytesIO) -> tuple[int, int]:
    """(width, height) of an image in pixels as it is shown, upright, from its header alone.

    Raises:
        one of `UNREADABLE`: the file is not an image that can be read.
    """
    with Image.open(file, formats=FORMATS) as image:
        return upright(image)


def upright(image: Image.Image) -> tuple[int, int]:
    """(width, height) of an open image once its EXIF orientation is applied."""
    width, height = image.size
    return (height, width) if _is_turned(image) else (width, height)


def _is_turned(image: Image.Image) -> bool:
    return image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)


def read(
    file: Path | BytesIO, *, resolution: SizeLike, reading: Reading | None = None, whole: bool = False
) -> NDArray[np.uint8]:
    """Pixels of shape (3, height, width), resized (bilinear, antialiased).

    By default it is the centre of the image in the shape of `resolution`. That is the same as resizing the whole and
    cropping the centre, without the memory that a very long image would take in between. Of several frames the first is
    taken. The EXIF orientation is applied, transparent parts become white, CMYK and palettes become RGB.

    Args:
        reading: the fit, and the range of images of more than 8 bits.
        whole: decode large JPEGs at their own size, as apps do; without it they are decoded smaller, which is faster
            and gives nearly the same pixels (docs/decisions/0075).

    Raises:
        one of `UNREADABLE`: the file is not an image, is damaged, or has more pixels than Pillow's limit.
    """
    reading, size = reading or Reading(), Size.of(resolution)
    with Image.open(file, formats=FORMATS) as image:
        if not whole:
            enough = (_SPARE * size.width, _SPARE * size.height)
            image.draft(None, enough[::-1] if _is_turned(image) else enough)
        pixels = _fitted(as_rgb(ImageOps.exif_transpose(image), reading), size, reading)
    return np.ascontiguousarray(np.asarray(pixels).transpose(2, 0, 1))


def as_rgb(image: Image.Image, reading: Reading | None = None) -> Image.Image:
    """The image in RGB: what is transparent becomes white; of more than 8 bits, the range of `reading` becomes 0..255,
    which is the high byte of 16 bits by default."""
    if is_deep(image):
        return Image.fromarray(as_bytes(np.asarray(image), reading or Reading())).convert("RGB")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image.convert("RGB")


def is_deep(image: Image.Image) -> bool:
    """Whether the image has one channel of more than 8 bits."""
    return image.mode[0] in "IF"


def as_bytes(values: NDArray[np.generic], reading: Reading) -> NDArray[np.uint8]:
    """Values of any range as 0..255: 256 equal steps from `low` to `high`."""
    steps = (values.astype(np.float64) - reading.low) * (256 / _span(reading))
    whole: NDArray[np.float64] = np.clip(np.nan_to_num(np.floor(steps)), 0, 255)
    return whole.astype(np.uint8)


def _span(reading: Reading) -> float:
    """Of whole numbers the highest value is in the range: 65,536 values from 0 to 65,535."""
    span = reading.high - reading.low
    return span + 1 if float(span).is_integer() and span >= 255 else span


def _fitted(image: Image.Image, wanted: Size, reading: Reading) -> Image.Image:
    size = (wanted.width, wanted.height)
    if reading.fit == "pad":
        scale = min(wanted.width / image.width, wanted.height / image.height)
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        canvas = Image.new("RGB", size, (PADDING,) * 3)
        place = ((wanted.width - inner[0]) // 2, (wanted.height - inner[1]) // 2)
        canvas.paste(image.resize(inner, Image.Resampling.BILINEAR), place)
        return canvas
    if reading.fit == "squash":
        return image.resize(size, Image.Resampling.BILINEAR)
    return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
